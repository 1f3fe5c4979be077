import assert from "node:assert/strict";
import { listenerRules, type Rule, strangerAnswer } from "../../../components/aws/rules";
import { weightsIn } from "../../../provider/cloud/marker";

const v1 = (weight: number) => ({ version: "v1", weight, targetGroupArn: "arn:v1" });
const v2 = (weight: number) => ({ version: "v2", weight, targetGroupArn: "arn:v2" });
const queryAuthToken = "token";
const byToken = { httpHeader: { httpHeaderName: "Authorization", values: ["Bearer token"] } };
const groups = ({ actions }: Rule) => actions[0]?.forward?.targetGroups;

describe("the rules of a service's listener", () => {
  const rolling = listenerRules({ primary: v1(75), canary: v2(25), queryAuthToken });

  it("send requests by the weights, with no memory of who came where", () => {
    assert.deepEqual(groups(rolling.traffic), [
      { arn: "arn:v1", weight: 75 },
      { arn: "arn:v2", weight: 25 },
    ]);
    assert.equal(rolling.traffic.actions[0]?.forward?.stickiness.enabled, false);
  });

  it("keep a version that gets nothing, which its header still reaches", () => {
    const held = listenerRules({ primary: v1(100), canary: v2(0), queryAuthToken });
    assert.deepEqual(
      groups(held.traffic)?.map(({ weight }) => weight),
      [100, 0],
    );
    assert.deepEqual(groups(held.canary), [{ arn: "arn:v2", weight: 1 }]);
    assert.deepEqual(groups(held.primary), [{ arn: "arn:v1", weight: 1 }]);
    assert.deepEqual(held.canary.conditions[0], {
      httpHeader: { httpHeaderName: "X-ANYSCALE-VERSION", values: ["canary"] },
    });
  });

  it("answer by themselves where there is no canary, and those who are strangers", () => {
    const alone = listenerRules({ primary: v1(100), queryAuthToken });
    assert.equal(alone.canary.actions[0]?.fixedResponse?.statusCode, "404");
    assert.equal(strangerAnswer.fixedResponse?.statusCode, "401");
    assert.deepEqual(groups(alone.traffic), [{ arn: "arn:v1", weight: 100 }]);
  });

  it("ask for the token in every one, or in none", () => {
    for (const { conditions } of Object.values(rolling)) {
      assert.ok(conditions.some((condition) => JSON.stringify(condition) === JSON.stringify(byToken)));
    }
    const open = listenerRules({ primary: v1(100) });
    assert.doesNotMatch(JSON.stringify(open), /Authorization/);
    assert.deepEqual(open.traffic.conditions, [{ pathPattern: { values: ["/*"] } }]);
  });

  it("tell the weights at a path of their own, looked at first", () => {
    assert.deepEqual(weightsIn(rolling.marker.actions[0]?.fixedResponse?.messageBody ?? ""), { v1: 75, v2: 25 });
    assert.deepEqual(rolling.marker.conditions[0], { pathPattern: { values: ["/-/rayshift/weights"] } });
    const order = Object.values(rolling).map(({ priority }) => priority);
    assert.equal(new Set(order).size, 4);
    assert.equal(Math.min(...order), rolling.marker.priority);
    assert.equal(Math.max(...order), rolling.traffic.priority);
  });

  it("fit AWS's limits with the longest names and the project's own tokens", () => {
    const name = `${"v".repeat(20)}-2`;
    const token = "A".repeat(43);
    const rules = listenerRules({
      primary: { ...v1(75), version: name },
      canary: { ...v2(25), version: name },
      queryAuthToken: token,
    });
    assert.ok((rules.marker.actions[0]?.fixedResponse?.messageBody.length ?? 0) <= 1024);
    for (const { conditions } of Object.values(rules)) {
      for (const { httpHeader } of conditions) {
        assert.ok((httpHeader?.httpHeaderName.length ?? 0) <= 40);
        for (const value of httpHeader?.values ?? []) assert.ok(value.length <= 128 && !/[*?]/.test(value));
      }
    }
  });
});
