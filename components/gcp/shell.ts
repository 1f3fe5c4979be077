import type { CloudShell, HeadShell } from "../cloud/boot";

/** What the boot scripts of `components/cloud` ask of Google Cloud: bodies of shell functions, without a secret in them. */

const METADATA = "http://metadata.google.internal/computeMetadata/v1/instance";

/** Tokens are read from a pipe: an argument is seen by everybody on the machine. */
const AUTHORIZED = `-H @<(printf 'Authorization: Bearer %s\\n' "$(access_token)")`;

export interface ShellArgs {
  project: string;
  /** Id in Secret Manager. */
  secret: string;
}

export interface HeadShellArgs extends ShellArgs {
  bucket: string;
  /** Name of the object with the version's Serve config. */
  object: string;
}

function shared({ project, secret }: ShellArgs) {
  const version = `https://secretmanager.googleapis.com/v1/projects/${project}/secrets/${secret}/versions/latest:access`;
  return {
    metadata: `curl -fsS --retry 10 --retry-connrefused -H "Metadata-Flavor: Google" "${METADATA}/$1"`,
    access_token: `metadata service-accounts/default/token | sed -n 's/.*"access_token": *"\\([^"]*\\)".*/\\1/p'`,
    instance_id: "metadata name",
    // The right to read it may come later than the machine.
    read_secret: [
      "local answer",
      `until answer=$(curl -fsS ${AUTHORIZED} ${version}); do sleep 5; done`,
      `sed -n 's/.*"data": *"\\([^"]*\\)".*/\\1/p' <<<"$answer" | base64 -d`,
    ].join("\n"),
    registry_login: [
      "local host",
      'host=$(cut -d / -f 1 <<<"$1")',
      'case "$host" in',
      "  *.pkg.dev | gcr.io | *.gcr.io)",
      '    access_token | docker login -u oauth2accesstoken --password-stdin "https://$host"',
      "    ;;",
      "esac",
    ].join("\n"),
  };
}

/** Of a worker, which deletes itself: a machine that is only shut down keeps its disk, and its price. */
export function workerShell(args: ShellArgs): CloudShell {
  const { project } = args;
  const self = `https://compute.googleapis.com/compute/v1/projects/${project}/zones/$zone/instances/$(instance_id)`;
  return {
    ...shared(args),
    every_boot: ":",
    end_instance: [
      "local zone",
      "zone=$(metadata zone | sed 's|.*/||')",
      `curl -fsS --retry 10 -X DELETE ${AUTHORIZED} "${self}" || shutdown -h now`,
    ].join("\n"),
  };
}

/**
 * Of a head. Google runs its script at every boot, and the name of the machine stays that of the cluster: a head that has
 * ended begins anew.
 */
export function headShell(args: HeadShellArgs): HeadShell {
  const object = `https://storage.googleapis.com/storage/v1/b/${args.bucket}/o/${encodeURIComponent(args.object)}?alt=media`;
  return {
    ...shared(args),
    every_boot: "docker rm --force ray >/dev/null 2>&1 || true",
    end_instance: "sleep 10\nreboot",
    announce: ":",
    saved_config: `curl -fsS --retry 10 ${AUTHORIZED} "${object}" || true`,
  };
}
