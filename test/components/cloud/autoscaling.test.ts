import assert from "node:assert/strict";
import {
  type AutoscalingInputs,
  autoscalingConfig,
  rayResources,
  resourceOptions,
} from "../../../components/cloud/autoscaling";
import { resourcesOf } from "../../../components/instanceTypes";

const gpu = {
  name: "gpu",
  resources: resourcesOf({ instance_type: "g5.xlarge" }),
  maxNodes: 8,
  nodeConfig: { template: "t" },
};
const inputs: AutoscalingInputs = {
  clusterName: "sample-service-v1-123456",
  provider: { type: "aws", region: "us-west-2" },
  sshUser: "ubuntu",
  groups: [gpu, { ...gpu, name: "cpu", resources: resourcesOf({ resources: { CPU: 2, licence: 1 } }), maxNodes: 3 }],
  idleTimeoutSeconds: 90,
};

describe("the config of Ray's autoscaler in a cloud", () => {
  const config = autoscalingConfig(inputs);

  it("starts every worker group from none, and none on the head's machine type", () => {
    for (const type of Object.values(config.available_node_types)) assert.equal(type.min_workers, 0);
    assert.equal(config.available_node_types.gpu?.max_workers, 8);
    assert.equal(config.available_node_types.head?.max_workers, 0);
    assert.equal(config.max_workers, 11);
    assert.equal(config.head_node_type, "head");
  });

  it("enters no machine, keeps none that it stopped, and ends idle ones after the service's time", () => {
    assert.deepEqual(config.provider, {
      type: "aws",
      region: "us-west-2",
      use_internal_ips: true,
      cache_stopped_nodes: false,
      disable_node_updaters: true,
      disable_launch_config_check: true,
    });
    assert.equal(config.idle_timeout_minutes, 1.5);
  });

  it("writes out what a machine has, since nobody fills it in on a head without `ray up`", () => {
    assert.deepEqual(config.available_node_types.gpu?.resources, {
      CPU: 4,
      GPU: 1,
      memory: Math.floor(16 * 0.7 * 2 ** 30),
      "accelerator_type:A10G": 1,
    });
    assert.deepEqual(config.available_node_types.cpu?.resources, { CPU: 2, licence: 1 });
    assert.deepEqual(config.available_node_types.gpu?.node_config, { template: "t" });
  });

  it("has workers say the same of themselves as the autoscaler expects of them", () => {
    for (const { resources } of inputs.groups) {
      const said = Object.fromEntries(resourceOptions(resources).map((option) => option.slice(2).split(/=(.*)/s)));
      const { CPU, GPU = 0, memory, ...custom } = rayResources(resources);
      assert.equal(Number(said["num-cpus"]), CPU);
      assert.equal(Number(said["num-gpus"]), GPU);
      assert.equal(said.memory === undefined ? undefined : Number(said.memory), memory);
      assert.deepEqual(JSON.parse(said.resources ?? "{}"), custom);
    }
  });
});
