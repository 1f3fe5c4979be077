import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { packageRoot } from "../project";
import type { Common } from "./commands";

/** The command line: verbs and flags as Anyscale's, each command loaded when it is called. */
export function program(): Command {
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  const root = new Command("rayshift")
    .description("Canary rollouts for Ray Serve")
    .version(version)
    .exitOverride()
    .configureHelp({ showGlobalOptions: true });

  common(
    root.command("deploy"),
    "first deploy, rollout, next split, or in-place update; goes on with an interrupted one",
  )
    .option("-f, --file <file>", "service YAML; absent: the service in the stack's config")
    .option("--canary-percent <percent>", "hold the canary at this percent of the traffic; 100 completes")
    .option("--max-surge-percent <percent>", "how far both clusters' capacity together may exceed 100, 1 to 100")
    .option("-i, --in-place", "change the running version's applications instead of rolling out")
    .option("--retry", "roll a version out again that was rolled back as it is")
    .action(async (flags) => (await import("./commands.js")).deployCommand(flags));

  common(root.command("rollback"), "walk a rollout back, or speed up a walk back that is under way")
    .option("--max-surge-percent <percent>", "from here on; absent: the rollout's own")
    .action(async (flags) => (await import("./commands.js")).rollbackCommand(flags));

  common(root.command("status"), "what runs, at which capacity and traffic, and why it is waiting")
    .option("-w, --watch", "show changes until interrupted")
    .action(async (flags) => (await import("./commands.js")).statusCommand(flags));

  common(root.command("wait"), "wait until the service is in a state")
    .option("--state <state>", "STARTING, RUNNING, ROLLING_OUT, ROLLING_BACK, UNHEALTHY or TERMINATED", "RUNNING")
    .option("--timeout-s <seconds>", "give up after this long", "600")
    .action(async (flags) => (await import("./commands.js")).waitCommand(flags));

  common(
    root.command("plan"),
    "the waypoints of a deploy, its peaks, and how fast it could be taken back; changes nothing",
  )
    .option("-f, --file <file>", "service YAML; absent: the service in the stack's config")
    .option("--canary-percent <percent>", "as for deploy")
    .option("--max-surge-percent <percent>", "as for deploy")
    .option("-i, --in-place", "as for deploy")
    .option("--retry", "as for deploy")
    .action(async (flags) => (await import("./commands.js")).planCommand(flags));

  common(root.command("supervise"), "enforce deadline and health of a rollout that is held; for cron, CI or a service")
    .option("--once", "look once and end: 0 when all is well, 3 or 4 when it was rolled back")
    .option("--interval-s <seconds>", "between two looks", "15")
    .action(async (flags) => (await import("./commands.js")).superviseCommand(flags));

  common(root.command("history"), "past rollouts, newest first, and why those that were taken back were")
    .option("-n, --max-items <count>", "how many rollouts at most", "10")
    .action(async (flags) => (await import("./commands.js")).historyCommand(flags));

  common(root.command("terminate"), "end the service and everything of it").action(async (flags) =>
    (await import("./commands.js")).terminateCommand(flags),
  );

  common(root.command("verify"), "try a target out: deploy, hold, complete, roll back and end a service on a new stack")
    .requiredOption("-f, --file <file>", "service YAML: the smallest that the target can run")
    .action(async (flags) => (await import("./commands.js")).verifyCommand(flags));

  root
    .command("setup")
    .description("install the Pulumi CLI, Ray and HAProxy into the project's `.rayshift` folder, or say what is there")
    .action(async () => (await import("./commands.js")).setupCommand());
  return root;
}

function common(command: Command, description: string): Command {
  return command
    .description(description)
    .option("-s, --stack <stack>", "stack of the service", "dev" satisfies Common["stack"])
    .option("-C, --folder <folder>", "folder of the project; absent: the current one")
    .option("--json", "one event a line");
}
