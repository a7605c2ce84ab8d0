/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* What the daemon and agitatorctl call things on the control socket. */

#define CONTROL_OBJECT       "/org/agitator1"
#define CONTROL_INTERFACE    "org.agitator1.Manager"
#define CONTROL_ERROR_FAILED "org.agitator1.Error.Failed"
