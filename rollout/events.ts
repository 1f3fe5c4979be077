import type { Change } from "../provider/serve/changes";
import type { Waypoint } from "./plan";

/** Which command of the driver an event belongs to. */
export type Command = "deploy" | "rollback" | "supervise" | "terminate";

/** What one cluster has, is asked for and is sent. */
export interface ClusterStatus {
  version: string;
  /** Percent that is asked for; null: everything, without bounds. */
  capacity: number | null;
  /** Percent of the requests, as the load balancer itself reports; null while it cannot be asked. */
  traffic: number | null;
  /** Replicas that run, and those that Ray is to run; null while the cluster cannot be asked. */
  replicas: { running: number; wanted: number } | null;
  /** Worker nodes that Ray counts as alive; null while the cluster cannot be asked. */
  workers: number | null;
  /** Why it is not as it should be; absent when it is. */
  waitsFor?: string;
}

/** What a driver reports while it works; `--json` prints one a line, with the time in front. */
export type RolloutEvent =
  | { event: "started"; command: Command; service: string; version: string; notices: string[] }
  | { event: "notice"; message: string }
  /** The waypoints that are to come, from where the service stands. */
  | { event: "planned"; waypoints: Waypoint[]; peakCapacity: number }
  /** What an update in place is about to do to the replicas of each deployment. */
  | { event: "changes"; version: string; changes: Change[] }
  | { event: "update"; message: string; waypoint?: Waypoint }
  | { event: "progress"; resource: string; message: string }
  | { event: "status"; primary: ClusterStatus; canary?: ClusterStatus }
  /** An update is done and the service stands at the waypoint; seconds since the update began. */
  | { event: "reached"; waypoint: Waypoint; seconds: number; primary: ClusterStatus; canary?: ClusterStatus }
  | { event: "unhealthy"; version: string; reason: string }
  /** `url`: where the service answers; absent when it was ended. */
  | { event: "finished"; outcome: Outcome; version: string; url?: string; seconds: number };

/** How a command ended when it did not throw. */
export type Outcome =
  | "unchanged"
  | "deployed"
  | "completed"
  /** At the split that was asked for. */
  | "held"
  | "rolledBack"
  | "updatedInPlace"
  | "terminated";

export type OnEvent = (event: RolloutEvent) => void;
