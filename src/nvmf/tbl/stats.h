/* SPDX-License-Identifier: Apache-2.0 */
/* NVMF_STAT(NAME, name, help) - no guard: included several times.  All are
 * counters of the process. */
NVMF_STAT(CONNECTS, connects, "NVMe-oF connections made")
NVMF_STAT(CONNECT_FAILURES, connect_failures,
	  "NVMe-oF connections that could not be made")
NVMF_STAT(DISCONNECTS, disconnects, "NVMe-oF connections that ended")
NVMF_STAT(TIMEOUTS, timeouts, "NVMe commands that missed their deadline")
NVMF_STAT(ABORTS, aborts, "NVMe commands whose Abort was asked for")
NVMF_STAT(COMMANDS, commands, "NVMe commands sent")
NVMF_STAT(ERRORS, errors, "NVMe commands that failed")
NVMF_STAT(BYTES_READ, bytes_read, "Bytes of good NVMe reads")
NVMF_STAT(BYTES_WRITTEN, bytes_written, "Bytes of good NVMe writes")
NVMF_STAT(ZEROCOPY_SENDS, zerocopy_sends,
	  "NVMe/TCP sends whose payload was not copied")
NVMF_STAT(ZEROCOPY_COPIED, zerocopy_copied,
	  "NVMe/TCP sends that the kernel copied though asked not to")
NVMF_STAT(DIGEST_ERRORS, digest_errors,
	  "NVMe/TCP PDUs whose digest did not match")
