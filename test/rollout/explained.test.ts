import assert from "node:assert/strict";
import { explained } from "../../rollout/explained";

const urn =
  "urn:pulumi:dev::rayshift::rayshift:index:Service$rayshift:kubernetes:LoadBalancer$kubernetes:gateway.networking.k8s.io/v1:Gateway::gateway";

describe("what a provider says of a failed resource", () => {
  it("gets what to do where somebody else owns a field, with the kind to look for", () => {
    const said = 'Apply failed with 1 conflict: conflict with "kubectl-edit" using v1: .spec.listeners';
    const text = explained(said, urn);
    assert.ok(text.startsWith(said));
    assert.match(text, /Take them out of what "kubectl-edit" applies/);
    assert.match(text, /`kubectl get gateway --all-namespaces --show-managed-fields -o yaml`/);
  });

  it("gets what to do where credentials are refused", () => {
    const said = "the server has asked for the client to provide credentials";
    assert.match(explained(said, undefined), /Are they expired\? Log in again/);
  });

  it("stays as it is otherwise", () => {
    assert.equal(explained("no space left on device", urn), "no space left on device");
  });
});
