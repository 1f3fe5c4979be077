import { join } from "node:path";
import type { RolloutRecord } from "../components/record";
import type { Addresses } from "../components/service";
import { LockHeld, withLock } from "../provider/local/lock";
import { ConfigFile } from "./configFile";
import { environmentFor } from "./environment";
import { StackLocked } from "./errors";
import type { Command, OnEvent } from "./events";
import { openProject, type Project } from "./project";
import { PulumiCli } from "./pulumi";
import { Stack, type StackOutputs } from "./stack";

/** What every command of the driver takes. */
export interface SessionOptions {
  /** Folder of the project; the current one when absent. */
  folder?: string | undefined;
  /** Stack of the service; `dev` when absent. */
  stack?: string | undefined;
  onEvent?: OnEvent | undefined;
  /** Ends the command at the next safe point; what runs stays as it is then. */
  signal?: AbortSignal | undefined;
}

/** One command's hold on a stack. */
export interface Session {
  project: Project;
  config: ConfigFile;
  stack: Stack;
  emit: OnEvent;
  signal: AbortSignal;
  /** Whether an update of this command has begun to change anything. */
  changed: boolean;
  /** Of the CLI and of the program. */
  environment: NodeJS.ProcessEnv;
  /** Throws {@link StackLocked} when somebody took the lock of a driving command away: it has to stop before its next effect. */
  assertDriving: () => void;
}

/** A stack's outputs when something is deployed. */
export interface Deployed extends StackOutputs {
  rollout: RolloutRecord;
  targets: Addresses;
}

/** A session that only reads. */
export async function openSession(options: SessionOptions): Promise<Session> {
  const project = openProject({
    ...(options.folder === undefined ? {} : { folder: options.folder }),
    ...(options.stack === undefined ? {} : { stack: options.stack }),
  });
  const environment = await environmentFor(project);
  return {
    project,
    changed: false,
    environment,
    config: new ConfigFile(project, environment),
    stack: new Stack(new PulumiCli(project, environment)),
    emit: options.onEvent ?? (() => {}),
    signal: options.signal ?? new AbortController().signal,
    assertDriving: () => {
      throw new Error("a session that only reads cannot change the stack: please report this");
    },
  };
}

/** Runs a command that changes the stack; only one at a time may. Throws {@link StackLocked} when another does. */
export async function driving<T>(
  command: Command,
  options: SessionOptions,
  drive: (session: Session) => Promise<T>,
): Promise<T> {
  const session = await openSession(options);
  session.signal.throwIfAborted();
  const { project } = session;
  const place = join(project.home, "run", `${project.name}-${project.stack}`);
  try {
    const work = (held: () => boolean, takenOver: boolean) => {
      session.assertDriving = () => {
        if (!held()) throw lockLost(command, project.stack);
      };
      return restoringConfig(session, async () => {
        // What the killed command's update still does would make everything that is read now untrue.
        if (takenOver) await session.stack.endOrphan(session.signal);
        return drive(session);
      });
    };
    return await withLock(place, `rayshift ${command}`, work, session.signal, 0);
  } catch (error) {
    if (!(error instanceof LockHeld)) throw error;
    throw new StackLocked(
      `${error.owner} (pid ${error.pid}, since ${error.since}) works on stack ${project.stack}. ` +
        "Wait until it is done, or end it, and run the command again. Nothing was changed.",
    );
  }
}

function lockLost(command: Command, stack: string): StackLocked {
  return new StackLocked(
    `this command's lock on stack ${stack} is gone: somebody removed it, or works on the stack now. It stopped where it was; ` +
      `\`rayshift status\` shows where that is, and \`rayshift ${command}\` goes on from there.`,
  );
}

/** A command that finds the stack locked by somebody else's update leaves the config as it was. */
async function restoringConfig<T>(session: Session, work: () => Promise<T>): Promise<T> {
  const before = session.config.text();
  try {
    return await work();
  } catch (error) {
    // Whoever took the lock away may have written a config of their own.
    if (error instanceof StackLocked && !session.changed && drives(session)) session.config.restore(before);
    throw error;
  }
}

function drives(session: Session): boolean {
  try {
    session.assertDriving();
    return true;
  } catch {
    return false;
  }
}

export function isDeployed(outputs: StackOutputs | undefined): outputs is Deployed {
  return outputs?.rollout !== undefined && outputs.targets !== undefined;
}
