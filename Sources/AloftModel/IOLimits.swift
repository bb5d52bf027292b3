// How much a guest may read from and write to a volume.
//
// The words and rules are QEMU's throttling (docs/throttle.txt): a leaky bucket for each measure, which lets `perSecond` through
// for ever, and up to `burst` for as long as `burstSeconds` behind a rest.

/// What a limit counts.
public enum IOMeasure: String, Sendable, Hashable, CaseIterable {
  case totalIOPS = "total_iops"
  case readIOPS = "read_iops"
  case writeIOPS = "write_iops"
  case totalBytes = "total_bytes"
  case readBytes = "read_bytes"
  case writeBytes = "write_bytes"

  /// It counts bytes, not requests.
  public var countsBytes: Bool {
    switch self {
    case .totalBytes, .readBytes, .writeBytes: true
    case .totalIOPS, .readIOPS, .writeIOPS: false
    }
  }

  /// Those that count a part of what this one counts.
  var parts: [IOMeasure] {
    switch self {
    case .totalIOPS: [.readIOPS, .writeIOPS]
    case .totalBytes: [.readBytes, .writeBytes]
    case .readIOPS, .writeIOPS, .readBytes, .writeBytes: []
    }
  }
}

/// One limit, in requests or bytes.
public struct IOLimit: Sendable, Hashable, Codable {
  public var perSecond: Int
  /// What is let through each second for a short time; nil: no more than ever.
  public var burst: Int?
  /// For how many seconds; nil without a burst.
  public var burstSeconds: Int?

  /// A burst that says nothing of its length lasts a second.
  public init(perSecond: Int, burst: Int? = nil, burstSeconds: Int? = nil) {
    self.perSecond = perSecond
    self.burst = burst
    self.burstSeconds = burst == nil ? burstSeconds : burstSeconds ?? 1
  }

  private enum CodingKeys: String, CodingKey { case perSecond, burst, burstSeconds }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      perSecond: try container.decode(Int.self, forKey: .perSecond),
      burst: try container.decodeIfPresent(Int.self, forKey: .burst),
      burstSeconds: try container.decodeIfPresent(Int.self, forKey: .burstSeconds))
  }
}

/// All limits of one volume. As JSON an object with a member for each measure that is limited.
public struct IOLimits: Sendable, Hashable, Codable {
  public var limits: [IOMeasure: IOLimit]

  public init(_ limits: [IOMeasure: IOLimit] = [:]) { self.limits = limits }

  public subscript(_ measure: IOMeasure) -> IOLimit? {
    get { limits[measure] }
    set { limits[measure] = newValue }
  }

  public var isEmpty: Bool { limits.isEmpty }

  /// Measures of later versions are passed over.
  public init(from decoder: any Decoder) throws {
    let members = try decoder.singleValueContainer().decode([String: IOLimit].self)
    limits = members.reduce(into: [:]) { limits, member in
      if let measure = IOMeasure(rawValue: member.key) { limits[measure] = member.value }
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(Dictionary(uniqueKeysWithValues: limits.map { ($0.key.rawValue, $0.value) }))
  }

  /// Why a set of limits makes no sense.
  public enum Contradiction: Sendable, Hashable {
    /// All requests are limited, and a part of them, too.
    case totalAndPart(IOMeasure, IOMeasure)
    case burstBelowRate(IOMeasure)
    case lengthWithoutBurst(IOMeasure)
  }

  /// What QEMU would refuse, the first in the order of the measures; nil: nothing.
  public var contradiction: Contradiction? {
    for measure in IOMeasure.allCases {
      guard let limit = self[measure] else { continue }
      if let part = measure.parts.first(where: { self[$0] != nil }) { return .totalAndPart(measure, part) }
      guard let burst = limit.burst else {
        if limit.burstSeconds != nil { return .lengthWithoutBurst(measure) }
        continue
      }
      if burst < limit.perSecond { return .burstBelowRate(measure) }
    }
    return nil
  }
}
