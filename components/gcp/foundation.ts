import { GlobalAddress } from "@pulumi/gcp/compute/globalAddress";
import { HealthCheck } from "@pulumi/gcp/compute/healthCheck";
import * as pulumi from "@pulumi/pulumi";
import type { MarkerAddress } from "../../provider/serve/guards";
import { ports } from "../cloud/boot";
import { type Access, access } from "./access";
import { nameOfEntrance, nameOfService, type Owner } from "./names";
import { type Place, place } from "./network";
import type { GcpSettings } from "./settings";

/** Ports of the load balancer: of the requests, and of the versions by their header alone. */
interface Door {
  scheme: "http" | "https";
  service: number;
  versions: number;
}

/** What all versions of a service share: network, accounts, bucket, and the load balancer's address. */
export class Foundation extends pulumi.ComponentResource {
  readonly place: Place;
  readonly access: Access;
  readonly address: GlobalAddress;
  readonly healthCheck: HealthCheck;

  constructor(
    readonly owner: Owner,
    readonly settings: GcpSettings,
  ) {
    super("rayshift:gcp:Foundation", "foundation");
    const own = { parent: this };
    const { project } = settings;
    this.place = place(owner, settings, own);
    this.access = access(owner, settings, own);
    this.address = new GlobalAddress("address", { project, name: nameOfService(owner) }, own);
    this.healthCheck = new HealthCheck(
      "health-check",
      {
        project,
        name: nameOfService(owner),
        checkIntervalSec: 5,
        timeoutSec: 5,
        healthyThreshold: 1,
        unhealthyThreshold: 3,
        httpHealthCheck: { port: ports.serve, requestPath: "/-/healthz" },
      },
      own,
    );
    this.registerOutputs({});
  }

  get door(): Door {
    const { http, port, versionsPort } = this.settings.loadBalancer;
    const usual = http
      ? ({ scheme: "http", service: 80, versions: 8080 } as const)
      : ({ scheme: "https", service: 443, versions: 8443 } as const);
    return { ...usual, service: port ?? usual.service, versions: versionsPort ?? usual.versions };
  }

  /** As a user writes it. */
  url(ip: string): string {
    const { scheme, service } = this.door;
    // Without the scheme's own port.
    return new URL(`${scheme}://${this.settings.loadBalancer.hostname ?? ip}:${service}`).origin;
  }

  /** Where the load balancer answers: at the port of the requests, or at that of the versions. */
  marker(port: "service" | "versions", queryAuthToken: pulumi.Input<string> | undefined): pulumi.Output<MarkerAddress> {
    const { scheme } = this.door;
    const { project, loadBalancer } = this.settings;
    const { hostname } = loadBalancer;
    const forwardingRule = `projects/${project}/global/forwardingRules/${nameOfEntrance(this.owner, port)}`;
    return pulumi.all([this.address.address, queryAuthToken]).apply(([ip, token]) => ({
      url: `${scheme}://${ip}:${this.door[port]}`,
      ...(hostname === undefined ? {} : { hostname }),
      ...(token === undefined ? {} : { queryAuthToken: token }),
      forwardingRule,
    }));
  }
}
