/// Where an S3-compatible store is, and how patient we are with it.
public struct S3Configuration: Sendable {
  /// How a bucket is named in URLs.
  public enum Addressing: String, Sendable, Codable, CaseIterable {
    /// `https://endpoint/bucket/key`: what most own stores understand.
    case path
    /// `https://bucket.endpoint/key`: what AWS asks for.
    case virtualHost = "virtual_host"
  }

  /// `https://host` or `http://host:port`, without a path.
  public var endpoint: String
  /// The bucket; it must be there.
  public var bucket: String
  /// The region that requests are signed for.
  public var region: String
  /// How the bucket is named.
  public var addressing: Addressing
  /// What all keys begin with, as `aloft/`, so that a bucket can be shared. May be empty.
  public var keyPrefix: String
  /// The usual size of a part in bytes; S3 allows no less than 5 MiB but for the last. Memory for each upload is twice that.
  public var partBytes: Int
  /// How often a request is tried in all.
  public var attempts: Int
  /// The pause before the second attempt; it doubles with each, up to `maxPause`, and a random part of up to half is taken off.
  public var firstPause: Duration
  /// The longest pause.
  public var maxPause: Duration
  /// How long one attempt may take in all.
  public var requestTimeout: Duration
  /// How long nothing may move.
  public var idleTimeout: Duration

  /// Makes a configuration.
  public init(
    endpoint: String, bucket: String, region: String = "us-east-1", addressing: Addressing = .path,
    keyPrefix: String = "",
    partBytes: Int = 8 << 20, attempts: Int = 6, firstPause: Duration = .milliseconds(200),
    maxPause: Duration = .seconds(10),
    requestTimeout: Duration = .seconds(600), idleTimeout: Duration = .seconds(30)
  ) {
    self.endpoint = endpoint
    self.bucket = bucket
    self.region = region
    self.addressing = addressing
    self.keyPrefix = keyPrefix
    self.partBytes = partBytes
    self.attempts = attempts
    self.firstPause = firstPause
    self.maxPause = maxPause
    self.requestTimeout = requestTimeout
    self.idleTimeout = idleTimeout
  }

  /// Scheme, host (with the port unless it is the scheme's own) and first part of the path, percent-encoded.
  func address() throws(ObjectStoreError) -> (scheme: String, host: String, path: String) {
    guard let separator = endpoint.firstRange(of: "://") else {
      throw .misconfigured("the endpoint must begin with http:// or https://")
    }
    let scheme = endpoint[..<separator.lowerBound].lowercased()
    var host = endpoint[separator.upperBound...].lowercased()
    if host.hasSuffix("/") { host.removeLast() }
    guard scheme == "http" || scheme == "https", !host.isEmpty, !host.contains(where: { "/?#@ ".contains($0) }) else {
      throw .misconfigured("the endpoint must be http:// or https:// with a host and perhaps a port")
    }
    // Clients leave these out of the Host field, and the field is signed.
    let ownPort = scheme == "https" ? ":443" : ":80"
    if host.hasSuffix(ownPort) { host.removeLast(ownPort.utf8.count) }
    let isBucket = bucket.utf8.allSatisfy {
      (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D || $0 == 0x2E
    }
    guard isBucket, (3...63).contains(bucket.utf8.count) else {
      throw .misconfigured("the bucket's name must have 3 to 63 lower-case letters, digits, dots and hyphens")
    }
    guard keyPrefix.isEmpty || (keyPrefix.hasSuffix("/") && (try? ObjectKey(String(keyPrefix.dropLast()))) != nil)
    else {
      throw .misconfigured("the key prefix must be empty, or segments that end with a slash")
    }
    guard partBytes >= 5 << 20 else { throw .misconfigured("a part has at least 5 MiB") }
    switch addressing {
    case .path: return (scheme, host, "/\(bucket)")
    case .virtualHost: return (scheme, "\(bucket).\(host)", "")
    }
  }
}

/// An access key. It shows itself to nobody: neither printing nor reflection gives the secret.
public struct S3Credentials: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  let accessKeyID: String
  let secretAccessKey: String
  let sessionToken: String?

  /// Takes a key, and the token that belongs to temporary ones.
  public init(accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil) {
    self.accessKeyID = accessKeyID
    self.secretAccessKey = secretAccessKey
    self.sessionToken = sessionToken
  }

  public var description: String { "S3Credentials(…)" }
  public var debugDescription: String { description }
  public var customMirror: Mirror { Mirror(self, children: [:]) }
}
