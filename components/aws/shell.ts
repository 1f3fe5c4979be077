import { type CloudShell, type HeadShell, quoted } from "../cloud/boot";

export interface WorkerShellInputs {
  region: string;
  /** ARN of the cluster's secret. */
  secretArn: string;
}

export interface HeadShellInputs extends WorkerShellInputs {
  zoneId: string;
  /** Name of the head's record. */
  recordName: string;
  bucket: string;
  /** Of the object with the Serve config. */
  configKey: string;
}

/** Seconds between tries of what needs a role that may have been made a moment ago. */
const RETRY_SECONDS = 5;
const RETRIES = 60;

/** A command until it succeeds, for some minutes. */
const patiently = (command: string) =>
  [
    `for _ in $(seq ${RETRIES}); do`,
    `  if ${command}; then return; fi`,
    `  sleep ${RETRY_SECONDS}`,
    "done",
    "return 1",
  ].join("\n");

/** The shell functions of machines in EC2: the metadata service by its second version only, and the AWS CLI. */
export function awsShell({ region, secretArn }: WorkerShellInputs): CloudShell {
  return {
    // cloud-init runs user data at a machine's first boot only.
    every_boot: 'install -D -m 0700 "$0" /var/lib/cloud/scripts/per-boot/rayshift',
    instance_id: [
      "local token",
      "token=$(curl -fsS --retry 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)",
      'curl -fsS --retry 5 -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/instance-id',
    ].join("\n"),
    read_secret: patiently(
      `aws secretsmanager get-secret-value --region ${region} --secret-id ${quoted(secretArn)} --query SecretString --output text`,
    ),
    // By its launch template a machine that shuts itself down is terminated.
    end_instance: "shutdown -h now",
    registry_login: [
      `local registry=\${1%%/*}`,
      "local of",
      'case "$registry" in',
      "  *.dkr.ecr.*.amazonaws.com*)",
      '    of=$(cut -d . -f 4 <<<"$registry")',
      '    aws ecr get-login-password --region "$of" | docker login --username AWS --password-stdin "$registry"',
      "    ;;",
      "  *) ;;",
      "esac",
    ].join("\n"),
  };
}

export function awsHeadShell({ zoneId, recordName, bucket, configKey, ...inputs }: HeadShellInputs): HeadShell {
  const change = JSON.stringify({
    Changes: [
      {
        Action: "UPSERT",
        ResourceRecordSet: { Name: recordName, Type: "A", TTL: recordSeconds, ResourceRecords: [{ Value: "ADDRESS" }] },
      },
    ],
  });
  return {
    ...awsShell(inputs),
    announce: [
      `local change=${quoted(change)}`,
      patiently(
        `aws route53 change-resource-record-sets --hosted-zone-id ${zoneId} --change-batch "\${change/ADDRESS/$1}" >/dev/null`,
      ),
    ].join("\n"),
    saved_config: `aws s3 cp --region ${inputs.region} --only-show-errors ${quoted(`s3://${bucket}/${configKey}`)} - 2>/dev/null || true`,
  };
}

/** How long others may keep the head's address after it has moved. */
export const recordSeconds = 10;
