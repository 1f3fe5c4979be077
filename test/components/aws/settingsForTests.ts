import { type AwsSettings, awsSettings } from "../../../components/aws/settings";

export const least = {
  region: "us-west-2",
  vpcId: "vpc-0a1b2c3d4e5f60718",
  subnetIds: ["subnet-0a1b2c3d4e5f60718", "subnet-1a1b2c3d4e5f60718"],
  ami: "ami-0a1b2c3d4e5f60718",
  dashboardCidrs: ["10.0.0.0/16"],
  loadBalancer: { http: true },
};

/** The settings as they are read when only these are given. */
export function settings(changes: Record<string, unknown> = {}): AwsSettings {
  return awsSettings.parse({ ...least, ...changes });
}
