import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { effectNow } from "../effects";
import type { ClusterInputs } from "./cluster";
import type { ProcessIdentity } from "./process";
import { type ClusterPorts, clusterFiles } from "./rayHead";

/** What a cluster's directory says about it, written before the head is started. */
export interface ClusterRecord {
  inputs: ClusterInputs;
  ports: ClusterPorts;
  head?: ProcessIdentity;
}

/** Makes the directory, or takes one that is a cluster's or empty, and nobody else's. */
export function claimDirectory(directory: string): void {
  mkdirSync(dirname(directory), { recursive: true, mode: 0o700 });
  try {
    mkdirSync(directory, { mode: 0o700 });
    return;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const found = lstatSync(directory);
  const remedy = "Move it away or choose another directory for the cluster.";
  if (!found.isDirectory() || found.uid !== process.getuid?.() || (found.mode & 0o077) !== 0) {
    throw new Error(`${directory} is there already and is not a directory that only you can read. ${remedy}`);
  }
  const strange = readdirSync(directory).filter((name) => !name.startsWith("cluster.json"));
  if (strange.length > 0 && readRecord(directory) === undefined) {
    throw new Error(`${directory} holds ${strange[0]} and no Ray cluster of rayshift. ${remedy}`);
  }
}

/** Removes the directory of a cluster; one that is no cluster's stays. */
export function removeDirectory(directory: string): void {
  const record = clusterFiles(directory).record;
  let entries: string[];
  try {
    entries = readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if (entries.length > 0 && lstatSync(record, { throwIfNoEntry: false }) === undefined) return;
  effectNow("remove a cluster's directory", directory, () => {
    // The record last: a removal that is interrupted is still known as a cluster's.
    for (const name of entries) {
      const path = join(directory, name);
      if (path !== record) rmSync(path, { recursive: true, force: true, maxRetries: 3 });
    }
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  });
}

export function readRecord(directory: string): ClusterRecord | undefined {
  try {
    return JSON.parse(readFileSync(clusterFiles(directory).record, "utf8")) as ClusterRecord;
  } catch {
    return undefined;
  }
}

/** As a whole or not at all. */
export function writeRecord(directory: string, record: ClusterRecord): void {
  const { record: file } = clusterFiles(directory);
  const draft = `${file}.new`;
  effectNow("write a cluster's record", directory, () => {
    writeFileSync(draft, JSON.stringify(record, undefined, 2), { mode: 0o600 });
    renameSync(draft, file);
  });
}
