import AloftModel
import ArgumentParser
import JSON

/// One I/O limit of a volume on the command line: `total_iops=500`, `read_bytes=100M:400M:30` with a burst and its seconds,
/// `write_iops=none`.
struct IOLimitArgument: ExpressibleByArgument, Equatable, Sendable {
  let measure: IOMeasure
  /// Nil removes it.
  let limit: IOLimit?

  init?(argument: String) {
    let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, let measure = IOMeasure(rawValue: parts[0]) else { return nil }
    self.measure = measure
    if parts[1] == "none" {
      limit = nil
      return
    }
    let words = parts[1].split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    func rate(_ index: Int) -> Int? {
      guard words.indices.contains(index) else { return nil }
      return measure.countsBytes ? ByteCount(argument: words[index])?.bytes : Int(words[index])
    }
    guard (1...3).contains(words.count), let perSecond = rate(0) else { return nil }
    guard words.count > 1 else {
      limit = IOLimit(perSecond: perSecond)
      return
    }
    let seconds = words.count > 2 ? Int(words[2]) : 1
    guard let burst = rate(1), let seconds else { return nil }
    limit = IOLimit(perSecond: perSecond, burst: burst, burstSeconds: seconds)
  }

  static let names = IOMeasure.allCases.map(\.rawValue).joined(separator: ", ")

  private var body: JSONValue {
    guard let limit else { return .null }
    var body: JSONObject = ["per_second": .integer(Int64(limit.perSecond))]
    body.say("burst", limit.burst)
    body.say("burst_seconds", limit.burstSeconds)
    return .object(body)
  }

  /// The member `io_limits` of a body.
  static func object(_ limits: [IOLimitArgument]) -> JSONValue {
    .object(limits.reduce(into: JSONObject()) { $0[$1.measure.rawValue] = $1.body })
  }
}
