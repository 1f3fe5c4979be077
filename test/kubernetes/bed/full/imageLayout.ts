import { createHash } from "node:crypto";
import { createReadStream, linkSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What an image is, as the specification of OCI images has it. */
export interface ImageDescription {
  /** With a tag. */
  name: string;
  /** Paths of tar files, the lowest first; on the same file system as the layout. */
  layers: readonly string[];
  entrypoint?: readonly string[];
  environment?: Record<string, string>;
  /** `UID:GID`; absent: root. */
  user?: string;
}

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";
const LAYER = "application/vnd.oci.image.layer.v1.tar";

/** Writes an image into a new folder as an OCI layout; a tar of the folder is what containerd imports. */
export async function writeImageLayout(folder: string, image: ImageDescription): Promise<void> {
  const blobs = join(folder, "blobs", "sha256");
  mkdirSync(blobs, { recursive: true });
  const layers = [];
  for (const file of image.layers) {
    const digest = await sha256Of(file);
    linkSync(file, join(blobs, digest));
    layers.push({ mediaType: LAYER, digest: `sha256:${digest}`, size: statSync(file).size });
  }
  const blob = (mediaType: string, content: object) => {
    const text = JSON.stringify(content);
    const digest = createHash("sha256").update(text).digest("hex");
    writeFileSync(join(blobs, digest), text);
    return { mediaType, digest: `sha256:${digest}`, size: Buffer.byteLength(text) };
  };
  const { name, entrypoint = [], environment = {}, user = "" } = image;
  const config = blob(CONFIG, {
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config: {
      Env: Object.entries({ PATH, ...environment }).map(([key, value]) => `${key}=${value}`),
      Entrypoint: entrypoint,
      User: user,
    },
    // A layer that is not compressed has the same digest in both places.
    rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
  });
  const manifest = blob(MANIFEST, { schemaVersion: 2, mediaType: MANIFEST, config, layers });
  const annotations = { "io.containerd.image.name": name };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
  writeFileSync(join(folder, "index.json"), JSON.stringify(index));
  writeFileSync(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const part of createReadStream(file)) hash.update(part);
  return hash.digest("hex");
}
