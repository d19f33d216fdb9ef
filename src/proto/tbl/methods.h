/* SPDX-License-Identifier: Apache-2.0 */
/* METHOD(name, number, request, response) - no guard: included several times.
 * Numbers are never reused. */
METHOD(HELLO, 1, hello_req, hello_rsp)
METHOD(PING, 2, ping_req, ping_rsp)
METHOD(MOUNT, 3, mount_req, mount_rsp)
METHOD(UNMOUNT, 4, unmount_req, unmount_rsp)
METHOD(LIST_SEGMENTS, 5, list_segments_req, list_segments_rsp)
METHOD(PUT_START, 6, put_start_req, put_start_rsp)
METHOD(PUT_END, 7, put_end_req, status_rsp)
METHOD(PUT_REVOKE, 8, put_revoke_req, status_rsp)
METHOD(GET, 9, get_req, get_rsp)
METHOD(EXIST, 10, exist_req, status_rsp)
METHOD(REMOVE, 11, remove_req, status_rsp)
METHOD(REMOVE_BY_REGEX, 12, remove_by_regex_req, count_rsp)
METHOD(REMOVE_ALL, 13, remove_all_req, count_rsp)
METHOD(REPORT, 14, report_req, status_rsp)
METHOD(LIST_KEYS, 15, list_keys_req, list_keys_rsp)
METHOD(STATS, 16, stats_req, stats_rsp)
