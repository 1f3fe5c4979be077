import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Registered } from "../../components/mockedEngine";
import { awsRules } from "../../fake/cloud/awsRules";
import { root } from "../../setup/support";

const FOLDER = join(root, "test", "clouds", "aws", "python");

/** A machine as moto's EC2 has it. */
export interface MotoInstance {
  id: string;
  state: string;
  type: string;
  tags: Record<string, string>;
}

export interface Given {
  network: { vpcId: string; subnetIds: string[]; ami: string };
  certificateArn: string;
  policyArn: string;
}

interface Rule {
  Priority: string;
  Actions: Array<{ ForwardConfig?: { TargetGroups: Array<{ TargetGroupArn: string; Weight: number }> } }>;
}

/** The Python of the clouds' tests, which set-up makes. */
export function cloudsPython(): string {
  const python = process.env.RAYSHIFT_CLOUDS_PYTHON;
  if (python === undefined)
    throw new Error("RAYSHIFT_CLOUDS_PYTHON has to name the Python of the set-up's clouds folder");
  return python;
}

/** An AWS account that moto keeps: its API alone, with nothing behind it. */
export class MotoAccount {
  /** Calls that were made, as `SERVICE ACTION`. */
  readonly calls: string[] = [];
  private known: Record<string, string> = {};

  private constructor(
    private readonly server: ChildProcess,
    readonly endpoint: string,
  ) {}

  static async start(): Promise<MotoAccount> {
    const server = spawn(cloudsPython(), [join(FOLDER, "moto_server.py")], { stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface({ input: server.stdout });
    const account: { made?: MotoAccount } = {};
    const port = new Promise<string>((resolve, reject) => {
      server.once("exit", (code) => reject(new Error(`moto's server ended with ${code}`)));
      lines.on("line", (line) => {
        if (/^\d+$/.test(line)) resolve(line);
        else account.made?.calls.push(line);
      });
    });
    account.made = new MotoAccount(server, `http://127.0.0.1:${await port}`);
    return account.made;
  }

  async stop(): Promise<void> {
    const ended = once(this.server, "exit");
    this.server.stdin?.end();
    await ended;
  }

  /** For whoever calls AWS. */
  get environment(): NodeJS.ProcessEnv {
    return {
      AWS_ENDPOINT_URL: this.endpoint,
      AWS_ACCESS_KEY_ID: "x",
      AWS_SECRET_ACCESS_KEY: "x",
      AWS_DEFAULT_REGION: "us-west-2",
      AWS_EC2_METADATA_DISABLED: "true",
    };
  }

  /** What a user has in it before a service is there. */
  given(): Promise<Given> {
    return this.run("given");
  }

  /** Makes what a program declares, and changes what it declared before. Throws with the API's own words. */
  async apply(resources: readonly Registered[]): Promise<Rule[]> {
    const own = resources
      .filter(({ type }) => type.startsWith("aws:"))
      .map(({ type, name, inputs }) => {
        const { id, outputs } = awsRules.learned({ type, name, inputs }, undefined);
        return { type, name, inputs, outputs: { id, ...outputs } };
      });
    const { known, rules } = await this.run<{ known: Record<string, string>; rules: Rule[] }>("apply", {
      known: this.known,
      resources: own,
    });
    this.known = known;
    return rules;
  }

  /** A text of a program's with what moto made up in place of what the fake did. */
  real(text: string): string {
    const made = Object.entries(this.known).filter(([key]) => !key.includes(" "));
    return made.reduce((changed, [fake, real]) => changed.replaceAll(fake, real), text);
  }

  /** Ends an auto scaling group and its machines. */
  async endGroup(name: string): Promise<void> {
    await this.run("end_group", { name });
  }

  /** Launches machines as Ray's autoscaler does. */
  async launch(machines: { image: string; type: string; count: number; tags: Record<string, string> }): Promise<void> {
    await this.run("launch", machines);
  }

  instances(): Promise<MotoInstance[]> {
    return this.run("instances");
  }

  private run<T>(command: string, input?: object): Promise<T> {
    return new Promise((resolve, reject) => {
      const args = [join(FOLDER, "moto_account.py"), command, this.endpoint];
      const child = execFile(cloudsPython(), args, { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
        if (error === null) resolve(JSON.parse(stdout) as T);
        else reject(new Error(stderr.trim().split("\n").at(-1)));
      });
      child.stdin?.end(input === undefined ? "" : JSON.stringify(input));
    });
  }
}
