import assert from "node:assert/strict";
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { bootScripts } from "../../../components/gcp/cluster";
import { spec } from "../../components/builders";
import { settings } from "../../components/gcp/settingsForTests";
import { cloudsPython } from "../aws/account";

const compute = {
  head_node: { instance_type: "n2-standard-8" },
  worker_nodes: [{ name: "gpu", instance_type: "g2-standard-4" }],
};

/** The scripts of a version in a container, or with Ray on the machine itself. */
function scripts(image?: string) {
  const own = spec({ compute_config: compute, ...(image === undefined ? {} : { image_uri: image }) });
  const version = { name: "v1", spec: own, digest: "", cluster: "v1", capacity: null, traffic: 100 };
  const owner = { service: "sample-service", stack: "rayshift/dev" };
  return bootScripts(owner, settings(), version, 60);
}

const image = "us-docker.pkg.dev/my-project/ray/ray:2.60.0-gpu";

describe("the startup scripts of Google Cloud's machines", function () {
  this.timeout(20_000);
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-scripts-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("please shellcheck", () => {
    const shellcheck = join(dirname(cloudsPython()), "shellcheck");
    for (const made of [scripts(), scripts(image)]) {
      for (const text of [made.head, made.worker("gpu")]) {
        const file = join(folder, "script.sh");
        writeFileSync(file, text);
        const checked: SpawnSyncReturns<string> = spawnSync(shellcheck, [file], {
          encoding: "utf8",
        });
        assert.equal(checked.status, 0, checked.stdout);
      }
    }
  });

  it("fit into a machine's metadata", () => {
    assert.ok(scripts(image).head.length < 256 * 1024);
  });

  /**
   * Runs one function of a script with fakes of the commands that reach out of the machine; each notes its arguments. They
   * do not prove what Google answers.
   */
  const call = (text: string, line: string, curl: string) => {
    const log = join(folder, "log");
    rmSync(log, { force: true });
    const fake = (name: string, body: string) => {
      writeFileSync(join(folder, name), `#!/bin/bash\necho "${name} $*" >>"${log}"\n${body}\n`);
      chmodSync(join(folder, name), 0o755);
    };
    fake("curl", curl);
    fake("docker", "cat >/dev/null");
    for (const name of ["reboot", "shutdown", "sleep"]) fake(name, "");
    const functions = text.slice(0, text.indexOf("# Whatever goes wrong"));
    const ran = spawnSync("bash", ["-c", `${functions}\n${line}`], {
      encoding: "utf8",
      env: { PATH: `${folder}:${process.env.PATH}` },
    });
    const calls = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
    return { out: ran.stdout, status: ran.status, calls };
  };
  const answers = (cases: Record<string, string>) =>
    `for word in "$@"; do case "$word" in ${Object.entries(cases)
      .map(([pattern, body]) => `*${pattern}*) ${body};;`)
      .join(" ")} esac; done`;
  const metadata = {
    "service-accounts/default/token": `echo '{"access_token":"ya29.secret","expires_in":3599,"token_type":"Bearer"}'`,
    "instance/name": "echo ray-sample-worker-1-compute",
    "instance/zone": "echo projects/123/zones/us-central1-a",
  };
  const noToken = (calls: readonly string[]) => {
    for (const each of calls) assert.ok(!each.includes("ya29"), each);
  };

  it("read Ray's token from Secret Manager, waiting for the right to, with no token among the arguments", () => {
    const tries = join(folder, "tries");
    writeFileSync(tries, "");
    const payload = Buffer.from("the-token").toString("base64");
    const secret = `echo x >>${tries}; if [ "$(wc -l <${tries})" -lt 3 ]; then exit 22; fi; printf '{\\n  "payload": {\\n    "data": "${payload}"\\n  }\\n}\\n'`;
    const { out, calls } = call(scripts(image).head, "read_secret", answers({ ...metadata, secretmanager: secret }));
    assert.equal(out, "the-token");
    assert.equal(calls.filter((each) => each.includes("secretmanager")).length, 3);
    noToken(calls);
  });

  it("take up the kept config, and nothing where none was kept", () => {
    const { head } = scripts(image);
    const kept = call(
      head,
      "saved_config",
      answers({ ...metadata, "storage.googleapis": `echo '{"applications": []}'` }),
    );
    assert.equal(kept.out.trim(), '{"applications": []}');
    noToken(kept.calls);
    const none = call(head, "saved_config", answers({ ...metadata, "storage.googleapis": "exit 22" }));
    assert.deepEqual([none.out, none.status], ["", 0]);
  });

  it("end a worker by its deletion, else by a shutdown, and let a head begin anew", () => {
    const worker = scripts(image).worker("gpu");
    const deleted = call(worker, "end_instance", answers(metadata));
    const deletion = deleted.calls.find((each) => each.includes("-X DELETE"));
    assert.match(deletion ?? "", /projects\/my-project\/zones\/us-central1-a\/instances\/ray-sample-worker-1-compute/);
    assert.ok(!deleted.calls.some((each) => each.startsWith("shutdown")));
    noToken(deleted.calls);
    const refused = call(worker, "end_instance", answers({ ...metadata, "compute.googleapis": "exit 22" }));
    assert.ok(refused.calls.includes("shutdown -h now"));
    assert.ok(call(scripts(image).head, "end_instance", "").calls.some((each) => each.startsWith("reboot")));
  });

  it("log in to Google's own registries, and to no other", () => {
    const { head } = scripts(image);
    const login = (name: string) => call(head, `registry_login ${name}`, answers(metadata)).calls;
    assert.ok(
      login(image).some((each) =>
        each.includes("login -u oauth2accesstoken --password-stdin https://us-docker.pkg.dev"),
      ),
    );
    noToken(login(image));
    assert.deepEqual(login("rayproject/ray:2.60.0"), []);
  });
});
