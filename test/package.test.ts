import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import ts from "typescript";
import { parse } from "yaml";
import { packageRoot } from "../rollout/project";

interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

const service = `
name: hello
version_name: v1
working_dir: APP
applications:
  - import_path: hello:app
    deployments: [{ name: Hello, num_replicas: 2 }]
compute_config:
  worker_nodes: [{ name: cpu, resources: { CPU: 1 }, min_nodes: 0, max_nodes: 2 }]
`;

const application = `
from ray import serve


@serve.deployment
class Hello:
    async def __call__(self, request):
        return "hello"


app = Hello.bind()
`;

describe("the package, installed in an empty project", function () {
  this.timeout(240_000);

  let folder: string;
  let consumer: string;
  let installed: string;
  let environment: NodeJS.ProcessEnv;
  let packed: { files: Array<{ path: string; mode: number }>; size: number; unpackedSize: number };

  before(async () => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), "rayshift-package-")));
    consumer = join(folder, "deep", "consumer");
    installed = join(consumer, "node_modules", "rayshift");
    const home = join(consumer, ".rayshift");
    mkdirSync(join(home, "state"), { recursive: true, mode: 0o700 });
    environment = {
      ...process.env,
      RAYSHIFT_HOME: home,
      PULUMI_BACKEND_URL: `file://${home}/state`,
      PULUMI_CONFIG_PASSPHRASE: "package",
    };
    delete environment.PULUMI_CONFIG_PASSPHRASE_FILE;
    write("package.json", JSON.stringify({ name: "consumer", private: true }));
    write("app/hello.py", application);
    write("service.yaml", service.replace("APP", "app"));

    // dist/ is what was just tested; prepack would build it anew under everybody's feet.
    const pack = ["pack", "--ignore-scripts", "--json", "--pack-destination", folder];
    const [entry] = JSON.parse((await succeed("npm", pack, packageRoot)).stdout);
    packed = entry;
    // Without scripts: those of the SDKs would have the CLI download plugins that only cloud targets need.
    const install = ["install", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"];
    await succeed("npm", [...install, join(folder, entry.filename)]);
  });

  after(() => rmSync(folder, { recursive: true, force: true }));

  function write(path: string, text: string): void {
    mkdirSync(join(consumer, path, ".."), { recursive: true });
    writeFileSync(join(consumer, path), text);
  }

  function run(command: string, args: string[], cwd = consumer, env = environment): Promise<Ran> {
    return new Promise((done) => {
      execFile(command, args, { cwd, env, maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
        done({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
      );
    });
  }

  async function succeed(...args: Parameters<typeof run>): Promise<Ran> {
    const ran = await run(...args);
    assert.equal(ran.code, 0, `${args[0]} ${args[1].join(" ")}: ${ran.stdout}${ran.stderr}`);
    return ran;
  }

  const rayshift = (...args: string[]) => succeed("npx", ["--no-install", "rayshift", ...args]);

  describe("holds", () => {
    const paths = () => packed.files.map(({ path }) => path);

    it("the program, the provider, its Python, the set-up and every document", () => {
      const documents = ["examples", "docs", "setup", "provider/local/python", "provider/serve/python"].flatMap(
        (path) => filesBelow(path),
      );
      const wanted = [
        ...[
          "LICENSE",
          "README.md",
          "CHANGELOG.md",
          "Pulumi.yaml",
          "dist/index.js",
          "provider/bin/pulumi-resource-rayserve",
        ],
        ...documents,
      ];
      assert.ok(wanted.length > 30, wanted.join(" "));
      assert.deepEqual(
        wanted.filter((path) => !paths().includes(path)),
        [],
      );
    });

    it("nothing else: no tests, sources, source maps, build stamps, nor what a run leaves behind", () => {
      const fine =
        /^(dist\/(index|(components|provider|rollout)\/.+)\.(js|d\.ts)|(setup|examples|docs)\/.+|provider\/(bin\/pulumi-resource-rayserve|(local|serve)\/python\/\w+\.py)|[A-Z]+(\.md)?|Pulumi\.yaml|package\.json)$/;
      const left = /(^|\/)(\.[^/]+|__pycache__|node_modules|test)(\/|$)|\.(map|tgz|log)$/;
      assert.deepEqual(
        paths().filter((path) => !fine.test(path) || left.test(path)),
        [],
      );
    });

    it("nothing of the machine that packed it", () => {
      const traces = [packageRoot, folder, process.env.HOME ?? ""].filter((path) => path.split("/").length > 2);
      for (const path of paths()) {
        const text = readFileSync(join(installed, path), "utf8");
        for (const trace of traces) assert.ok(!text.includes(trace), `${path} names ${trace}`);
      }
    });

    it("less than 600 kB, two megabytes unpacked", () => {
      assert.ok(packed.size < 600_000, `${packed.size} bytes`);
      assert.ok(packed.unpackedSize < 2_000_000, `${packed.unpackedSize} bytes unpacked`);
    });

    function filesBelow(path: string): string[] {
      return readdirSync(join(packageRoot, path), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(packageRoot.length + 1))
        .filter((file) => !/__pycache__|\.rayshift/.test(file));
    }
  });

  describe("gives scripts", () => {
    const names = ["deploy", "rollback", "status", "plan", "Service"];

    it("its functions by `import`", async () => {
      const types = names.map((name) => `typeof ${name}`).join(", ");
      write(
        "script.mjs",
        `import { ${names.join(", ")} } from "rayshift";\nconsole.log(JSON.stringify([${types}]));\n`,
      );
      const { stdout } = await succeed(process.execPath, ["script.mjs"]);
      assert.deepEqual(JSON.parse(stdout), Array(names.length).fill("function"));
    });

    it("its functions by `require`, without loading the clouds' SDKs", async () => {
      write(
        "script.cjs",
        `const rayshift = require("rayshift");
        const types = ${JSON.stringify(names)}.map((name) => typeof rayshift[name]);
        console.log(JSON.stringify({ types, modules: Object.keys(require.cache) }));`,
      );
      const { types, modules } = JSON.parse((await succeed(process.execPath, ["script.cjs"])).stdout);
      assert.deepEqual(types, Array(names.length).fill("function"));
      assert.ok(modules.includes(join(installed, "dist", "rollout", "index.js")));
      const heavy = /\/@pulumi\/(aws|gcp|kubernetes)\/|\/node_modules\/typescript\//;
      assert.deepEqual(
        modules.filter((path: string) => heavy.test(path)),
        [],
      );
    });

    it("types, to ES modules and CommonJS alike", () => {
      const script = `
        import { deploy, InvalidInput, plan, rollback, Service, status } from "rayshift";
        import type { CommandResult, DeployOptions, RolloutPlan, ServiceStatus } from "rayshift";
        const options: DeployOptions = { file: "service.yaml", canaryPercent: 5, onEvent: ({ event }) => console.log(event) };
        export const results: [Promise<CommandResult>, Promise<CommandResult>] = [deploy(options), rollback({})];
        export const now: Promise<ServiceStatus> = status({ stack: "prod" });
        export const planned: Promise<RolloutPlan> = plan({ file: "service.yaml" });
        export const told = (error: unknown) => InvalidInput.isInstance(error) && error.problems.map(({ rule }) => rule);
        export class Mine extends Service {}
        // @ts-expect-error: a promise is no number, and any would be
        export const wrong: number = status({});
      `;
      const scripts = ["typed.mts", "typed.cts"];
      for (const name of scripts) write(name, script);
      const program = ts.createProgram(
        scripts.map((name) => join(consumer, name)),
        {
          strict: true,
          exactOptionalPropertyTypes: true,
          module: ts.ModuleKind.Node16,
          moduleResolution: ts.ModuleResolutionKind.Node16,
          target: ts.ScriptTarget.ES2022,
          typeRoots: [join(consumer, "node_modules", "@types")],
          noEmit: true,
        },
      );
      // The package's own declarations too: a type that only our devDependencies have would be an error in them alone.
      const ours = program.getSourceFiles().filter(({ fileName }) => {
        return fileName.startsWith(`${installed}/`) || scripts.some((name) => fileName === join(consumer, name));
      });
      assert.ok(ours.length > 10, ours.map(({ fileName }) => fileName).join("\n"));
      const diagnostics = [
        ...program.getOptionsDiagnostics(),
        ...ours.flatMap((file) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]),
      ];
      const host = {
        getCurrentDirectory: () => consumer,
        getCanonicalFileName: (name: string) => name,
        getNewLine: () => "\n",
      };
      assert.equal(ts.formatDiagnostics(diagnostics, host), "");
    });
  });

  describe("gives a command line", () => {
    it("that tells its version and its commands", async () => {
      const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8"));
      assert.equal((await rayshift("--version")).stdout.trim(), version);
      const { stdout } = await rayshift("--help");
      for (const command of ["deploy", "rollback", "status", "wait", "plan", "terminate", "setup"]) {
        assert.match(stdout, new RegExp(`^ +${command} `, "m"));
      }
    });

    it("that says TERMINATED where nothing is deployed", async () => {
      const { stdout } = await rayshift("status", "--json");
      assert.equal(JSON.parse(stdout).state, "TERMINATED");
    });

    it("that plans a first deploy and changes nothing", async () => {
      const { stdout } = await rayshift("plan", "-f", "service.yaml");
      assert.match(stdout, /first deploy of v1/);
      assert.equal(existsSync(join(consumer, "Pulumi.dev.yaml")), false);
    });
  });

  describe("keeps a Pulumi project for the folder", () => {
    const generated = () => join(consumer, ".rayshift", "project");
    const settings = () => parse(readFileSync(join(generated(), "Pulumi.yaml"), "utf8"));
    const providerOf = (project: string) =>
      resolve(project, settings().plugins.providers[0].path, "pulumi-resource-rayserve");

    before(() => rayshift("status"));

    it("that runs the installed program and its provider", () => {
      assert.equal(resolve(generated(), settings().main), join(installed, "dist", "index.js"));
      assert.equal(providerOf(generated()), join(installed, "provider", "bin", "pulumi-resource-rayserve"));
      accessSync(providerOf(generated()), constants.X_OK);
      assert.equal(statSync(providerOf(generated())).mode & 0o111, 0o111);
    });

    it("that leads to them also when the folder is named by a link", async () => {
      const link = join(folder, "link");
      symlinkSync(consumer, link);
      await rayshift("status", "-C", link);
      const project = realpathSync(join(link, ".rayshift", "project"));
      assert.equal(resolve(project, settings().main), join(installed, "dist", "index.js"));
      assert.ok(existsSync(providerOf(project)));
    });

    it("in which a plain `pulumi preview` registers the resources of the service", async () => {
      const indented = service.replace("APP", join(consumer, "app")).trim().replace(/^/gm, "    ");
      write("Pulumi.dev.yaml", `config:\n  rayshift:service:\n${indented}\n`);
      // Old language hosts do not tell the program where its project is.
      const env = { ...environment, RAYSHIFT_PROJECT: generated() };
      const common = ["--stack", "dev", "--non-interactive", "--color", "never"];
      await succeed("pulumi", ["stack", "init", ...common], generated(), env);
      const { stdout } = await succeed("pulumi", ["preview", "--json", ...common], generated(), env);
      const { steps } = JSON.parse(stdout) as { steps: Array<{ op: string; newState: { type: string } }> };
      const made = steps.filter(({ op }) => op === "create").map(({ newState }) => newState.type);
      for (const type of [
        "rayshift:index:Service",
        "rayserve:index:Token",
        "rayserve:local:Package",
        "rayserve:local:Cluster",
        "rayserve:serve:Applications",
        "rayserve:local:LoadBalancer",
      ]) {
        assert.ok(made.includes(type), `${type} is not among ${made.join(", ")}`);
      }
    });
  });
});
