import assert from "node:assert/strict";
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { bootScripts } from "../../../components/gcp/cluster";
import { spec } from "../../components/builders";
import { settings } from "../../components/gcp/settingsForTests";
import { cloudsPython } from "../aws/account";
import { boot, RAY_ENDED } from "../boot";

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

  describe("run to their end", () => {
    const answers = {
      "curl*instance/service-accounts/default/token": '{"access_token":"ya29.secret","expires_in":3599}',
      "curl*instance/name": "ray-sample-worker-1-compute",
      "curl*instance/zone": "projects/123/zones/us-central1-a",
      "curl*secretmanager": `{"payload": {"data": "${Buffer.from("token-of-ray").toString("base64")}"}}`,
      "curl*storage.googleapis": '{"applications": []}',
    };
    const booted = (script: string) => boot(script, mkdtempSync(join(folder, "boot-")), { answers });
    const untold = (calls: readonly string[]) => {
      noToken(calls);
      for (const each of calls) assert.ok(!each.includes("token-of-ray"), each);
    };

    it("have a head take its secret, serve what the one before served, and begin anew when Ray ends", async () => {
      const { calls, environment, own } = await booted(scripts().head);
      const at = (text: string) => {
        const index = calls.findIndex((each) => each.includes(text));
        assert.notEqual(index, -1, `${text} among\n${calls.join("\n")}`);
        return index;
      };
      assert.ok(at("secretmanager") < at("ray start --head"));
      assert.match(calls[at("-X PUT -H @")] ?? "", /http:\/\/127\.0\.0\.1:8265\/api\/serve\/applications\/$/);
      assert.match(environment, /^RAY_CLOUD_INSTANCE_ID=ray-sample-worker-1-compute$/m);
      assert.match(environment, /^RAY_NODE_TYPE_NAME=head$/m);
      assert.match(environment, /^RAY_enable_autoscaler_v2=1$/m);
      assert.match(environment, /^RAY_AUTH_MODE=token$/m);
      assert.equal(readFileSync(join(own, "token"), "utf8").trim(), "token-of-ray");
      assert.equal(statSync(join(own, "token")).mode & 0o077, 0);
      assert.ok(at(RAY_ENDED) < at("reboot"));
      untold(calls);
    });

    it("have a worker join by the head's name as what the autoscaler expects, and delete itself when Ray ends", async () => {
      const { calls, environment } = await booted(scripts().worker("gpu"));
      const start = calls.find((each) => each.startsWith("ray start")) ?? "";
      assert.match(
        start,
        /--address=\S+-head-compute\.us-central1-a\.c\.my-project\.internal:6379 --num-cpus=4 --num-gpus=1/,
      );
      assert.ok(start.includes('--resources={"accelerator_type:L4":1}'), start);
      assert.match(environment, /^RAY_NODE_TYPE_NAME=gpu$/m);
      const deleted = calls.findIndex((each) => each.includes("-X DELETE"));
      assert.ok(deleted > calls.indexOf(RAY_ENDED), calls.join("\n"));
      untold(calls);
    });

    it("give a worker's image the GPUs", async () => {
      const { calls } = await booted(scripts(image).worker("gpu"));
      assert.ok(calls.includes(`docker pull --quiet ${image}`), calls.join("\n"));
      const ran = calls.find((each) => each.startsWith("docker run --rm --name ray")) ?? "";
      assert.match(ran, /--network host --ipc host --gpus all .* ray start --block/);
      untold(calls);
    });
  });

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
