import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { ZipFile } from "yazl";
import type { SourceFile } from "../../components/version";

/**
 * Writes the files into a zip, readable by the owner only. The same files in the same order give the same bytes,
 * whenever and wherever: names, contents and the executable bit count, nothing else.
 *
 * @param files sorted by path
 */
export async function writeZip(files: readonly SourceFile[], target: string, signal?: AbortSignal): Promise<void> {
  const zip = new ZipFile();
  // A zip tells local time, without a zone, from 1980 on.
  const mtime = new Date(1981, 0, 1);
  for (const { path, file, executable } of files) {
    zip.addFile(file, path, { mtime, forceDosTimestamp: true, mode: executable ? 0o100755 : 0o100644 });
  }
  const output = createWriteStream(target, { mode: 0o600, flush: true });
  // A file that cannot be read is told by the archive, not by its stream.
  zip.once("error", (error) => output.destroy(error));
  zip.end();
  await pipeline(zip.outputStream, output, signal === undefined ? {} : { signal });
}
