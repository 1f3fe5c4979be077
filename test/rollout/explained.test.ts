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

  it("gets what to do where a killed update left something in a cloud, with what it is", () => {
    const own = (type: string) =>
      `urn:pulumi:dev::rayshift::rayshift:index:Service$rayshift:cloud:Cluster$${type}::head-v2`;
    const aws = "creating Auto Scaling Group (svc-v2): AlreadyExists: AutoScalingGroup by this name already exists";
    const gcp =
      "Error creating instance: googleapi: Error 409: The resource 'projects/p/zones/z/instances/i' already exists";
    assert.match(
      explained(aws, own("aws:autoscaling/group:Group")),
      /killed while AWS made it.*delete the group of this name/s,
    );
    assert.match(explained(gcp, own("gcp:compute/instance:Instance")), /Google Cloud made it.*delete the instance of/s);
    const role = "creating IAM Role (r): EntityAlreadyExists: Role with name r already exists.";
    assert.match(explained(role, own("aws:iam/role:Role")), /delete the role/);
    assert.equal(explained(gcp, urn), gcp);
  });

  it("stays as it is otherwise", () => {
    assert.equal(explained("no space left on device", urn), "no space left on device");
  });
});
