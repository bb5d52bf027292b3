/// What `aloft-rbd` is asked for: one line of JSON each. All of it takes milliseconds where the cluster answers.
public enum ImageRequest: Sendable, Codable {
  /// Of the monitors: the text of a command, and of its answer.
  case ask(command: String)
  case names
  case create(image: String, sizeBytes: Int)
  case clone(parent: String, snapshot: String, image: String)
  case rename(image: String, name: String)
  case resize(image: String, sizeBytes: Int)
  case usage(image: String)
  /// The addresses of those that have it open to write.
  case watchers(image: String)
  case metadata(image: String, key: String)
  case setMetadata(image: String, key: String, value: String)
  /// Those that have not been deleted, the oldest first.
  case snapshots(image: String)
  /// Fails with ENOENT if it is not there.
  case openSnapshot(image: String, snapshot: String)
  case createSnapshot(image: String, snapshot: String)
  case removeSnapshot(image: String, snapshot: String)
}

/// What it answers: a line each, in the order of the requests.
public struct ImageAnswer: Sendable, Codable {
  /// An `errno`; 0: it worked.
  public var code: Int32 = 0
  /// Why it failed, if the code does not say it; else what was asked for.
  public var text: String?
  public var names: [String]?
  public var usage: ImageUsage?
}

/// How large an image is, what it takes, and what snapshots it has.
public struct ImageUsage: Sendable, Hashable, Codable {
  public var sizeBytes = 0
  public var usedBytes = 0
  public var snapshots: Set<String> = []
}
