import Testing

/// All tests with a whole cloud, one after another: guests that boot would starve those of the next cloud of the time that its
/// test waits for.
@Suite(.serialized) enum EndToEnd {}
