"""The private dom0: a host of namespaces with everything real in it and nothing of the box touched.

Only the standard library, since most of it runs before the virtual environment exists.
"""
