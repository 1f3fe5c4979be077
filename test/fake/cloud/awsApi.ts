import type { IncomingMessage, RequestListener } from "node:http";

/** A machine as EC2 tells of it. */
export interface FakeInstance {
  id: string;
  state: "running" | "terminated";
  tags: Record<string, string>;
}

export interface AwsCalls {
  instances(): FakeInstance[];
  terminate(ids: string[]): void;
  /** `actions` by their paths, as in `ForwardConfig.TargetGroups.member.1.Weight`. */
  modifyRule(arn: string, actions: Map<string, string>): void;
}

/** The calls of AWS's query API that rayshift makes itself, in place of EC2 and Elastic Load Balancing. No signature is checked. */
export function awsApi(calls: AwsCalls): RequestListener {
  return (request, response) => {
    void bodyOf(request).then((body) => {
      const parameters = new Map(new URLSearchParams(body));
      response.setHeader("content-type", "text/xml");
      try {
        response.end(answer(calls, parameters));
      } catch (error) {
        response.writeHead(400);
        response.end(
          `<Response><Errors><Error><Code>Refused</Code><Message>${error}</Message></Error></Errors></Response>`,
        );
      }
    });
  };
}

function answer(calls: AwsCalls, parameters: Map<string, string>): string {
  const action = parameters.get("Action");
  switch (action) {
    case "DescribeInstances": {
      const found = calls.instances().filter((instance) => filtersOf(parameters).every((filter) => filter(instance)));
      const items = found.map(
        ({ id, state }) =>
          `<item><instancesSet><item><instanceId>${id}</instanceId><instanceState><name>${state}</name></instanceState></item></instancesSet></item>`,
      );
      return `<DescribeInstancesResponse><reservationSet>${items.join("")}</reservationSet></DescribeInstancesResponse>`;
    }
    case "TerminateInstances":
      calls.terminate(valuesOf(parameters, "InstanceId"));
      return "<TerminateInstancesResponse><instancesSet/></TerminateInstancesResponse>";
    case "ModifyRule": {
      const prefix = "Actions.member.1.";
      const own = [...parameters].filter(([key]) => key.startsWith(prefix));
      const actions = new Map(own.map(([key, value]) => [key.slice(prefix.length), value]));
      calls.modifyRule(parameters.get("RuleArn") ?? "", actions);
      return "<ModifyRuleResponse><ModifyRuleResult><Rules/></ModifyRuleResult></ModifyRuleResponse>";
    }
    default:
      throw new Error(`this fake of AWS's API has no ${action}`);
  }
}

function filtersOf(parameters: Map<string, string>): Array<(instance: FakeInstance) => boolean> {
  return Array.from({ length: 10 }, (_, index) => `Filter.${index + 1}`)
    .filter((prefix) => parameters.has(`${prefix}.Name`))
    .map((prefix) => {
      const name = parameters.get(`${prefix}.Name`) ?? "";
      const values = valuesOf(parameters, `${prefix}.Value`);
      if (name === "instance-state-name") return ({ state }) => values.includes(state);
      return ({ tags }) => values.includes(tags[name.replace(/^tag:/, "")] ?? "");
    });
}

const valuesOf = (parameters: Map<string, string>, prefix: string): string[] =>
  [...parameters].filter(([key]) => new RegExp(`^${prefix}\\.\\d+$`).test(key)).map(([, value]) => value);

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
