/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncake._native.nof_register and nof_unregister.  Any thread; the GIL is
 * away while they wait.  Invariant: nothing of Python is touched meanwhile.
 */
#include "native.h"

#include <stdbool.h>
#include <stdio.h>

#include "client/nof.h"

struct args {
	const char *master;
	struct endpoint ep;
	uint64_t bytes;
};

/* False with an exception set. */
static bool parse(PyObject *tuple, struct args *out)
{
	unsigned long long nsid, port, bytes = 0;
	const char *nqn, *traddr;

	if (!PyArg_ParseTuple(tuple, "ssKsKK", &out->master, &nqn, &nsid,
			      &traddr, &port, &bytes))
		return false;
	if (strlen(nqn) >= sizeof(out->ep.subnqn) ||
	    strlen(traddr) >= sizeof(out->ep.traddr) || nsid > UINT32_MAX ||
	    !port || port > UINT16_MAX) {
		PyErr_SetString(PyExc_ValueError,
				"nqn, nsid, traddr or trsvcid is out of range");
		return false;
	}
	snprintf(out->ep.subnqn, sizeof(out->ep.subnqn), "%s", nqn);
	snprintf(out->ep.traddr, sizeof(out->ep.traddr), "%s", traddr);
	out->ep.trtype = NVME_TRTYPE_TCP;
	out->ep.trsvcid = (uint16_t)port;
	out->ep.nsid = (uint32_t)nsid;
	out->bytes = bytes;
	return true;
}

/* None, or why not. */
static PyObject *call(PyObject *tuple, bool is_removal)
{
	struct args args = {0};
	struct err err = {0};
	int ret;

	if (!parse(tuple, &args))
		return NULL;
	Py_BEGIN_ALLOW_THREADS ret =
		is_removal
			? nof_unregister(args.master, &args.ep, &err)
			: nof_register(args.master, &args.ep, args.bytes, &err);
	Py_END_ALLOW_THREADS if (ret < 0) return PyUnicode_DecodeUTF8(
		err.text, (Py_ssize_t)strlen(err.text), "replace");
	Py_RETURN_NONE;
}

PyObject *mod_nof_register(PyObject *self, PyObject *args)
{
	(void)self;
	return call(args, false);
}

PyObject *mod_nof_unregister(PyObject *self, PyObject *args)
{
	(void)self;
	return call(args, true);
}
