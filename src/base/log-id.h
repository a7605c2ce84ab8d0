/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* The MESSAGE_ID= of each kind of record; each has an entry in data/agitator.catalog. */

#define LOG_ID_SESSION        "b0d2a4d6c1b74c5d9f3a1c6e5d7f8a01" /* a session ended well */
#define LOG_ID_SESSION_FAILED "5e0c3d8a7f6b4e1a9d2c8b7a6f5e4d02" /* a session refused or broken */
#define LOG_ID_READY          "3c1f0a9b8d7e4c6fa5b4c3d2e1f0a903" /* all listeners open */
#define LOG_ID_RELOADED       "9a8b7c6d5e4f4a3bb2c1d0e9f8a7b604" /* new settings in force */
#define LOG_ID_RELOAD_FAILED  "1d2e3f4a5b6c4d7e8f9a0b1c2d3e4f05" /* old settings stay in force */
#define LOG_ID_CONFIG_WARNING "7f6e5d4c3b2a49188796a5b4c3d2e106" /* odd, but no error */
#define LOG_ID_SERVER_DOWN    "2b3c4d5e6f7a4b8c9dae0f1a2b3c4d07" /* a server can't be reached */
#define LOG_ID_SERVER_UP      "8c7d6e5f4a3b4c2d9e1f0a9b8c7d6e08" /* ... and can be again */
#define LOG_ID_SERVER_FULL    "4d5e6f7a8b9c4d0e9f1a2b3c4d5e6f09" /* a server's MaxSessions= */
#define LOG_ID_LIMIT          "6e7f8a9bacbd4c1e8f2a3b4c5d6e7f10" /* the proxy's MaxSessions= */
#define LOG_ID_RESOURCES      "0f1e2d3c4b5a4968a7b6c5d4e3f20111" /* out of descriptors or memory */
#define LOG_ID_RESOLVE_FAILED "a1b2c3d4e5f64a7b8c9d0e1f2a3b4c12" /* a server has no address */
#define LOG_ID_ODD_PATH       "c3d4e5f6a7b84c9d8eaf1b2c3d4e5f13" /* a path that matches only "*" */
#define LOG_ID_STOPPING       "e5f6a7b8c9da4ebf9c0d1e2f3a4b5c14" /* draining begins */
#define LOG_ID_STOPPED        "f7a8b9cadbec4fd0a1e2f3a4b5c6d715" /* the end, and what was cut */
#define LOG_ID_CERTIFICATE    "d9eafb0c1d2e4f30a4b5c6d7e8f90a17" /* near or past its end */
#define LOG_ID_UPGRADED       "3a4b5c6d7e8f4901a2b3c4d5e6f7a818" /* another process has the service */
#define LOG_ID_UPGRADE_FAILED "5c6d7e8f9a0b4c12b3c4d5e6f7a8b919" /* this one goes on */
#define LOG_ID_DROPPED        "b7c8d9eafb0c4de1b2d3e4f5a6b7c816" /* log records got lost */
#define LOG_ID_SYSLOG_DOWN    "3f6c1e9a57d24b0e8c41d92f7ab3e518" /* a log server can't be reached */
#define LOG_ID_SYSLOG_UP      "c2a97d40b1e84f6d95f30e6b8d27c419" /* ... and can be again */
#define LOG_ID_SYSLOG_DROPPED "84e5b7d1f93a4c26a0d8e47c15fb6220" /* it did not get all records */
#define LOG_ID_REPEATED       "5a6b7c8d9eaf4b1c8d2e3f4a5b6c7d18" /* the same, so many times more */
#define LOG_ID_STEP           "6b7c8d9eafb04c2d9e3f4a5b6c7d8e19" /* debug: a step of a session */
#define LOG_ID_DIALOGUE       "7c8d9eafb0c14d3eaf4a5b6c7d8e9f20" /* debug: a line of its dialogue */
#define LOG_ID_OTHER          "8d9eafb0c1d24e4fb05b6c7d8e9fa021" /* none of these: of a library */

/* A short name for @id, as "session-failed", which syslog has as MSGID; NULL when there is none. */
const char *log_id_get_name(const char *id);
