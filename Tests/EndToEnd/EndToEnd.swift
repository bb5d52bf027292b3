import Testing

// All tests with a whole cloud, in two queues: a cloud waits more than it works, so two fit on two processors, and guests of
// more that boot would starve each other of the time that their tests wait for.

/// What becomes of machines, and of those who ask for them.
@Suite(.serialized) enum EndToEnd {}

/// What becomes of images, volumes, snapshots and backups.
@Suite(.serialized) enum StorageEndToEnd {}
