/* SPDX-License-Identifier: Apache-2.0 */
/* Module mooncake._native: types, version, addresses of the allocator. */
#include "native.h"

static PyObject *mod_strerror(PyObject *self, PyObject *args)
{
	int code;

	(void)self;
	if (!PyArg_ParseTuple(args, "i", &code))
		return NULL;
	return PyUnicode_FromString(mooncake_store_strerror(code));
}

static PyObject *mod_alloc_addr(PyObject *self, PyObject *unused)
{
	(void)self;
	(void)unused;
	return PyLong_FromSize_t((size_t)&mooncake_host_alloc);
}

static PyObject *mod_free_addr(PyObject *self, PyObject *unused)
{
	(void)self;
	(void)unused;
	return PyLong_FromSize_t((size_t)&mooncake_host_free);
}

static PyMethodDef methods[] = {
	{"strerror", mod_strerror, METH_VARARGS, "Text of a return code."},
	{"alloc_addr", mod_alloc_addr, METH_NOARGS,
	 "Address of void *alloc(size_t)."},
	{"free_addr", mod_free_addr, METH_NOARGS,
	 "Address of void free(void *)."},
	{"nof_register", mod_nof_register, METH_VARARGS,
	 "Adds a namespace to the SSD pool: None, or why not."},
	{"nof_unregister", mod_nof_unregister, METH_VARARGS,
	 "Takes a namespace out of the SSD pool: None, or why not."},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "mooncake._native",
	.m_size = -1,
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC PyInit__native(void)
{
	PyObject *m = PyModule_Create(&module);

	if (!m)
		return NULL;
	if (handle_type_init(m) < 0 || store_type_init(m) < 0 ||
	    PyModule_AddStringConstant(m, "version", mooncake_store_version()) <
		    0) {
		Py_DECREF(m);
		return NULL;
	}
	return m;
}
