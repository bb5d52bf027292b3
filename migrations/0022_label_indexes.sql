-- Without a list of pending entries: a create would now and then have to sort in all of it, and every filter has to read it.
ALTER INDEX vms_by_label SET (fastupdate = off);
ALTER INDEX images_by_label SET (fastupdate = off);
