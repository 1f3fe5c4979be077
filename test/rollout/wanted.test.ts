import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { InvalidInput } from "../../components/problems";
import { openSession } from "../../rollout/session";
import { configFor, readWanted, type Wanted, type WantedOptions } from "../../rollout/wanted";

const service = { name: "words", version_name: "v1", applications: [{ import_path: "app:app" }] };
const other = { ...service, version_name: "v2" };

describe("readWanted", () => {
  const home = process.env.RAYSHIFT_HOME;
  let folder: string;
  beforeEach(() => {
    delete process.env.RAYSHIFT_HOME;
    folder = mkdtempSync(join(tmpdir(), "rayshift-wanted-"));
    writeFileSync(join(folder, "Pulumi.yaml"), "name: rayshift\nruntime: nodejs\n");
  });
  afterEach(() => {
    if (home !== undefined) process.env.RAYSHIFT_HOME = home;
    rmSync(folder, { recursive: true });
  });

  const file = () => join(folder, "Pulumi.dev.yaml");
  const configure = (values: Record<string, unknown>) => {
    const config = Object.fromEntries(Object.entries(values).map(([key, value]) => [`rayshift:${key}`, value]));
    writeFileSync(file(), stringify({ config }));
  };
  const read = async (options: WantedOptions = {}): Promise<Wanted> =>
    readWanted(await openSession({ folder }), options);
  const problemsOf = async (options: WantedOptions): Promise<string[]> => {
    const error = await read(options).then(
      () => assert.fail("it was taken"),
      (thrown) => thrown,
    );
    assert.ok(InvalidInput.isInstance(error), String(error));
    return error.problems.map(({ path }) => path);
  };

  it("is the service of the config, as the config says, where nothing else is named", async () => {
    configure({ service, canaryPercent: 10, maxSurgePercent: 50, drainTimeoutSeconds: 7 });
    const { version, config } = await read();
    assert.equal(version.name, "v1");
    assert.deepEqual([config.canaryPercent, config.maxSurgePercent, config.drainTimeoutSeconds], [10, 50, 7]);
  });

  it("is the service that is named, as a value or as a file, before that of the config", async () => {
    configure({ service });
    writeFileSync(join(folder, "service.yaml"), stringify({ ...other, version_name: "v3" }));
    assert.equal((await read({ service: other })).version.name, "v2");
    assert.equal((await read({ file: join(folder, "service.yaml") })).version.name, "v3");
    assert.equal((await read({ file: join(folder, "service.yaml"), service: other })).version.name, "v3");
  });

  it("leaves a held split where a service is named without a percent, and keeps the surge", async () => {
    configure({ service, canaryPercent: 10, maxSurgePercent: 50 });
    const { config } = await read({ service: other });
    assert.deepEqual([config.canaryPercent, config.maxSurgePercent], [undefined, 50]);
  });

  it("takes a flag before the config, 0 included", async () => {
    configure({ service, canaryPercent: 10, maxSurgePercent: 50 });
    const { config } = await read({ canaryPercent: "0", maxSurgePercent: 20 });
    assert.deepEqual([config.canaryPercent, config.maxSurgePercent], [0, 20]);
  });

  it("is in place only by the flag, and then by no split or surge of the config", async () => {
    configure({ service, maxSurgePercent: 50, inPlace: true });
    assert.equal((await read()).config.inPlace, undefined);
    const { config } = await read({ service: other, inPlace: true });
    assert.deepEqual([config.inPlace, config.maxSurgePercent], [true, undefined]);
  });

  it("takes no waypoint and no pinned content of an earlier command over", async () => {
    mkdirSync(join(folder, "app"));
    const waypoint = {
      primary: "v0",
      canary: "v1",
      primaryCapacity: 100,
      canaryCapacity: 100,
      canaryTraffic: 5,
      direction: "forward",
      startedAt: "2026-01-31T12:00:00.000Z",
    };
    configure({ service: { ...service, working_dir: "./app" }, waypoint, workingDirDigest: "0".repeat(64) });
    const { config, version } = await read();
    assert.deepEqual([config.waypoint, config.workingDirDigest], [undefined, undefined]);
    assert.notEqual(version.workingDirectory?.digest, "0".repeat(64));
  });

  it("is another version when the content of its folder is another", async () => {
    mkdirSync(join(folder, "app"));
    const wanted = () => read({ service: { ...service, version_name: undefined, working_dir: "./app" } });
    const before = await wanted();
    assert.equal(before.version.workingDirectory?.source, join(folder, "app"));
    writeFileSync(join(folder, "app", "app.py"), "app = 1");
    const after = await wanted();
    assert.notEqual(after.version.digest, before.version.digest);
    assert.deepEqual(configFor(after), {
      service: after.source.written,
      workingDirDigest: after.version.workingDirectory?.digest,
      waypoint: undefined,
      inPlace: undefined,
      rejected: undefined,
    });
  });

  it("names all wrong flags together, as flags", async () => {
    configure({ service });
    const flags = { canaryPercent: "101", maxSurgePercent: "0" };
    assert.deepEqual(await problemsOf(flags), ["--canary-percent", "--max-surge-percent"]);
    assert.deepEqual(await problemsOf({ canaryPercent: 10, maxSurgePercent: 5, inPlace: true }), [
      "--canary-percent",
      "--max-surge-percent",
    ]);
  });

  it("names all problems of the config together", async () => {
    configure({ service, port: 0, drainTimeoutSeconds: "soon", maxSurgePercent: 101, colour: "red" });
    const paths = await problemsOf({});
    for (const key of ["port", "drainTimeoutSeconds", "maxSurgePercent"]) {
      assert.ok(paths.includes(`rayshift:${key}`), String(paths));
    }
    assert.equal(paths.length, 4, String(paths));
  });

  it("names the problems of flags, config and service in one error, each once", async () => {
    configure({ service, port: 0, colour: "red" });
    const broken = { name: "words", applications: [{ import_path: 1 }] };
    const paths = await problemsOf({ service: broken, canaryPercent: "101", maxSurgePercent: "0" });
    assert.deepEqual(paths.sort(), [
      "--canary-percent",
      "--max-surge-percent",
      "applications[0].import_path",
      "rayshift:colour",
      "rayshift:port",
    ]);
    const missing = join(folder, "none.yaml");
    assert.deepEqual((await problemsOf({ file: missing, canaryPercent: "101" })).sort(), [
      "--canary-percent",
      "--file",
      "rayshift:colour",
      "rayshift:port",
    ]);
    const nowhere = { ...service, working_dir: "./none" };
    assert.deepEqual((await problemsOf({ service: nowhere })).sort(), [
      "rayshift:colour",
      "rayshift:port",
      "working_dir",
    ]);
  });

  it("says that there is no service where none is named anywhere", async () => {
    configure({ port: 0 });
    assert.deepEqual((await problemsOf({})).sort(), ["rayshift:port", "rayshift:service"]);
  });

  it("names a config file that cannot be read beside what else is wrong", async () => {
    writeFileSync(file(), "config: [");
    const paths = await problemsOf({ canaryPercent: "101" });
    assert.equal(paths[0], "--canary-percent");
    assert.deepEqual([...new Set(paths.slice(1))], [file()]);
  });

  it("names all problems of a service together", async () => {
    const paths = await problemsOf({ service: { name: "words", applications: [{ import_path: 1 }], max_surge: 3 } });
    assert.ok(paths.includes("applications[0].import_path"), String(paths));
    assert.ok(paths.length >= 2, String(paths));
  });

  it("writes nothing", async () => {
    configure({ service, canaryPercent: 10 });
    const before = readFileSync(file(), "utf8");
    await read({ service: other, canaryPercent: 30 });
    await problemsOf({ canaryPercent: 101 });
    assert.equal(readFileSync(file(), "utf8"), before);
    assert.deepEqual(readdirSync(folder).sort(), ["Pulumi.dev.yaml", "Pulumi.yaml"]);
  });
});
