import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { parse } from "yaml";
import { ConfigFile } from "../../rollout/configFile";
import { Refused } from "../../rollout/errors";
import { openProject } from "../../rollout/project";
import { openSession } from "../../rollout/session";
import { configFor, readWanted } from "../../rollout/wanted";
import { FakePulumi } from "./fakePulumi";
import { RealPulumi } from "./realPulumi";

const service = (version: string, password = `hunter-${version}`) => ({
  name: "words",
  version_name: version,
  applications: [{ import_path: "app:app" }],
  env_vars: { PASSWORD: password },
});

/** The real CLI encrypts and decrypts; it starts for every call. */
describe("A service that is encrypted in the config", function () {
  this.timeout(120_000);
  let pulumi: RealPulumi;
  beforeEach(async () => {
    pulumi = new RealPulumi();
    await pulumi.run(["stack", "init"]);
    await pulumi.run(["config", "set", "service", "--secret"], JSON.stringify(service("v1")));
  });
  afterEach(() => pulumi.remove());

  const content = () => readFileSync(pulumi.configFile, "utf8");
  const values = () => (parse(content()) as { config: Record<string, unknown> }).config;
  const configured = async () => {
    const all = JSON.parse(await pulumi.run(["config", "--json", "--show-secrets"]));
    const { value, secret } = all["rayshift:service"];
    return { service: JSON.parse(value), secret };
  };

  it("is read in clear by the driver", async () => {
    const { version } = await readWanted(await openSession({ folder: pulumi.folder }), {});
    assert.deepEqual([version.name, version.spec.env_vars], ["v1", { PASSWORD: "hunter-v1" }]);
  });

  it("stays encrypted through every edit of a rollout, whichever service it becomes", async () => {
    writeFileSync(pulumi.configFile, `# of the stack\n${content()}`);
    const session = await openSession({ folder: pulumi.folder });
    const edit = (change: Record<string, unknown>) => {
      session.config.edit(change);
      assert.doesNotMatch(content(), /hunter|words/);
      assert.deepEqual(Object.keys(values()["rayshift:service"] as object), ["secure"]);
    };
    const wanted = await readWanted(session, { service: service("v2") });
    edit({ ...configFor(wanted), canaryPercent: 10 });
    assert.deepEqual(await configured(), { service: service("v2"), secret: true });
    edit({ waypoint: { primary: "v1", canary: "v2", canaryTraffic: 5 } });
    assert.equal(session.config.read().service, JSON.stringify(service("v2")));
    edit({ waypoint: undefined, service: service("v1"), canaryPercent: undefined });
    assert.deepEqual(await configured(), { service: service("v1"), secret: true });
    assert.match(content(), /^# of the stack\n/);
    assert.deepEqual(
      readdirSync(tmpdir()).filter((name) => name.startsWith("rayshift-config-")),
      [],
    );
  });

  it("is not written again where it is wanted already", async () => {
    const before = statSync(pulumi.configFile, { bigint: true });
    const session = await openSession({ folder: pulumi.folder });
    const { env_vars, ...others } = service("v1");
    session.config.edit({ service: { env_vars, ...others }, waypoint: undefined });
    const after = statSync(pulumi.configFile, { bigint: true });
    assert.deepEqual([after.mtimeNs, after.ino], [before.mtimeNs, before.ino]);
  });

  it("is encrypted whole when a part of it was and it becomes another", async () => {
    pulumi.configure({ service: undefined });
    pulumi.configure({ service: service("v1", "to be replaced") });
    await pulumi.run(["config", "set", "--path", "service.env_vars.PASSWORD", "--secret"], "hunter");
    const session = await openSession({ folder: pulumi.folder });
    assert.deepEqual(JSON.parse(session.config.read().service!), service("v1", "hunter"));
    session.config.edit({ service: service("v2") });
    assert.doesNotMatch(content(), /hunter|words/);
    assert.deepEqual(await configured(), { service: service("v2"), secret: true });
  });

  it("is refused with the remedy when its key is not there, and nothing is changed", async () => {
    const before = content();
    const read = () => new ConfigFile(openProject({ folder: pulumi.folder })).read();
    process.env.PULUMI_CONFIG_PASSPHRASE = "another";
    assert.throws(read, (error) => {
      assert.ok(error instanceof Refused);
      assert.match(error.message, /PULUMI_CONFIG_PASSPHRASE/);
      return true;
    });
    process.env.PULUMI_CONFIG_PASSPHRASE = "for this test";
    await pulumi.run(["stack", "rm", "--yes", "--preserve-config"]);
    assert.throws(read, (error) => {
      assert.ok(error instanceof Refused);
      assert.match(error.message, /Run `pulumi stack init dev`/);
      return true;
    });
    assert.equal(content(), before);
    await pulumi.run(["stack", "init"]);
    assert.equal(read().service, JSON.stringify(service("v1")));
  });

  it("goes to the CLI through a pipe and not in its arguments, and no CLI starts where nothing is encrypted", () => {
    const cli = new FakePulumi({ config: [{ stdout: "{}" }] });
    try {
      const config = new ConfigFile(cli.project, cli.environment);
      config.edit({ service: service("v1") });
      config.read();
      assert.deepEqual(cli.calls(), []);
      writeFileSync(cli.project.configFile, "config:\n  rayshift:service:\n    secure: v1:abc\n");
      // This CLI says that it is done and encrypts nothing, which must not end in clear text.
      assert.throws(() => config.edit({ service: service("v2") }));
      assert.match(readFileSync(cli.project.configFile, "utf8"), /secure: v1:abc/);
      const [, set] = cli.calls();
      assert.deepEqual(set!.args.slice(0, 4), ["config", "set", "rayshift:service", "--secret"]);
      assert.doesNotMatch(set!.args.join(" "), /hunter/);
      assert.equal(set!.input, JSON.stringify(service("v2")));
    } finally {
      cli.remove();
    }
  });
});
