/** A listener's rules and a request, and what an Application Load Balancer does with it by AWS's reference. */

export interface AlbCondition {
  httpHeader?: { httpHeaderName: string; values: string[] };
  pathPattern?: { values: string[] };
}

export interface AlbAction {
  type: string;
  fixedResponse?: { statusCode: string; contentType: string; messageBody: string };
  forward?: { targetGroups: Array<{ arn: string; weight: number }> };
}

export interface AlbRule {
  priority: number;
  conditions: AlbCondition[];
  actions: AlbAction[];
}

export interface AlbRequest {
  path: string;
  headers: Record<string, string | string[] | undefined>;
}

/** The action for a request: that of the first rule whose conditions all hold, else the listener's own. */
export function albAction(
  rules: readonly AlbRule[],
  defaultActions: readonly AlbAction[],
  request: AlbRequest,
): AlbAction {
  const inOrder = [...rules].sort((a, b) => a.priority - b.priority);
  const rule = inOrder.find(({ conditions }) => conditions.every((condition) => holds(condition, request)));
  const action = (rule?.actions ?? defaultActions).at(-1);
  if (action === undefined) throw new Error("a listener has an action for every request");
  return action;
}

/**
 * The target group of a forward action. A group whose targets do not answer gets its share all the same: the load balancer
 * does not turn to another one.
 *
 * @param at - from 0 up to 1, by which one is taken
 */
export function chosenGroup({ forward }: AlbAction, at: number): string | undefined {
  const groups = forward?.targetGroups ?? [];
  let left = at * groups.reduce((sum, { weight }) => sum + weight, 0);
  for (const { arn, weight } of groups) {
    if (left < weight) return arn;
    left -= weight;
  }
  return undefined;
}

function holds({ httpHeader, pathPattern }: AlbCondition, { path, headers }: AlbRequest): boolean {
  if (httpHeader !== undefined) {
    const given = [headers[httpHeader.httpHeaderName.toLowerCase()] ?? []].flat();
    // Names and values of headers without regard to case.
    return httpHeader.values.some((value) => given.some((each) => pattern(value, "i").test(each)));
  }
  return (pathPattern?.values ?? []).some((value) => pattern(value, "").test(path));
}

function pattern(value: string, flags: string): RegExp {
  const escaped = value.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("*", ".*").replaceAll("?", ".")}$`, flags);
}
