import type { Action } from "@aws-sdk/client-elastic-load-balancing-v2";
import { markerText } from "../cloud/marker";
import { effect } from "../effects";
import type { ListenerRules } from "../serve/guards";

/**
 * Sends all requests to one version by an ALB's weighted rule, and has its marker say so. The next update finds both
 * different from what it left, and puts them right.
 *
 * @throws Error when that cannot be done
 */
export async function moveAllTraffic(
  { region, weights, marker, targetGroups }: ListenerRules,
  to: string,
  from: string,
  signal?: AbortSignal,
): Promise<void> {
  const groups = [to, from].map((version) => {
    const arn = targetGroups[version];
    if (arn === undefined) throw new Error(`version ${version} is not behind the load balancer`);
    return { TargetGroupArn: arn, Weight: version === to ? 100 : 0 };
  });
  const { ElasticLoadBalancingV2Client, ModifyRuleCommand } = await import("@aws-sdk/client-elastic-load-balancing-v2");
  const client = new ElasticLoadBalancingV2Client({ region });
  const write = (RuleArn: string, action: Action) =>
    client.send(new ModifyRuleCommand({ RuleArn, Actions: [action] }), signal && { abortSignal: signal });
  try {
    await effect("move all traffic", `${weights} to ${to}`, async () => {
      await write(weights, {
        Type: "forward",
        ForwardConfig: { TargetGroups: groups, TargetGroupStickinessConfig: { Enabled: false } },
      });
      const text = markerText([
        { version: to, weight: 100 },
        { version: from, weight: 0 },
      ]);
      await write(marker, {
        Type: "fixed-response",
        FixedResponseConfig: { StatusCode: "200", ContentType: "text/plain", MessageBody: text },
      });
    });
  } finally {
    client.destroy();
  }
}
