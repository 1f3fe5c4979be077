import { driving, type SessionOptions } from "./session";

/**
 * Ends the service: every process of it, and the stack. The stack's config stays.
 *
 * @throws StackLocked when another command or update works on the stack
 */
export async function terminate(options: SessionOptions): Promise<{ outcome: "terminated" | "unchanged" }> {
  const began = Date.now();
  return driving("terminate", options, async (session) => {
    const { emit, signal, stack, config } = session;
    const outputs = await stack.outputs(signal);
    if (outputs === undefined) return { outcome: "unchanged" };
    await stack.settle(signal);
    const service = outputs.rollout?.primary.spec.name ?? `of stack ${session.project.stack}`;
    const version = outputs.rollout?.primary.name ?? "(none was deployed completely)";
    emit({ event: "started", command: "terminate", service, version, notices: [] });
    await stack.destroy(undefined, signal);
    config.edit({ waypoint: undefined, canaryPercent: undefined });
    emit({ event: "finished", outcome: "terminated", version, seconds: (Date.now() - began) / 1000 });
    return { outcome: "terminated" };
  });
}
