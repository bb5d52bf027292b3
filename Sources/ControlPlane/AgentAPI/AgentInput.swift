import AloftModel
import IPAddressing
import JSON

/// Words that agents send and people read.
enum AgentText {
  /// In bytes of UTF-8.
  private static let most = 1024

  /// The text without U+0000, which PostgreSQL does not store, and cut where nobody reads on.
  static func shortened(_ text: String) -> String {
    var result = String.UnicodeScalarView()
    var bytes = 0
    for scalar in text.unicodeScalars {
      bytes += UTF8.width(scalar)
      if bytes > most { return String(result) + "…" }
      result.append(scalar == "\0" ? "\u{FFFD}" : scalar)
    }
    return String(result)
  }
}

/// What an agent says about its host, held against what can be true and can be stored. Throws every fault with its place.
struct AgentInput {
  private static let mostFacts = 64
  private static let longestKey = 64
  private static let longestFact = 1024
  /// 4 PiB of memory in MiB, 1 EiB of disk in GiB: times any pool's overcommit it is still a number that can be added up.
  private static let memoryMiB = 0...(1 << 32)
  private static let diskGiB = 0...(1 << 30)
  private static let bytes = 0...(1 << 60)
  private static let vcpus = 0...65_536
  private static let mostAuthorities = 16
  private static let mostOrphans = 128

  private var faults: [Problem.FieldError] = []

  static func check(_ report: NodeReport) throws(Problem) {
    var input = AgentInput()
    input.take(report, at: JSONPointer())
    try input.finish()
  }

  static func check(_ join: JoinRequest) throws(Problem) {
    var input = AgentInput()
    input.text(join.token, atMost: 256, at: JSONPointer(["token"]))
    input.take(join.report, at: JSONPointer(["report"]))
    try input.finish()
  }

  private mutating func take(_ report: NodeReport, at place: JSONPointer) {
    text(report.architecture, atMost: 64, at: place.appending("architecture"))
    number(report.vcpus, Self.vcpus, at: place.appending("vcpus"))
    number(report.memoryMib, Self.memoryMiB, at: place.appending("memory_mib"))
    number(report.diskGib, Self.diskGiB, at: place.appending("disk_gib"))
    if let trust = report.trust, trust.count > Self.mostAuthorities || trust.contains(where: { $0.utf8.count != 64 }) {
      fault(
        .badFormat, "at most \(Self.mostAuthorities) SHA-256 fingerprints in hexadecimal", at: place.appending("trust"))
    }
    for (index, pool) in (report.pools ?? []).prefix(Self.mostFacts).enumerated() {
      take(pool, at: place.appending("pools").appending("\(index)"))
    }
    if let networking = report.networking { take(networking, at: place.appending("networking")) }
    let orphans = place.appending("orphans")
    if (report.orphans ?? []).count > Self.mostOrphans {
      fault(.tooLong, "at most \(Self.mostOrphans)", at: orphans)
    } else {
      for orphan in report.orphans ?? [] { text(orphan, atMost: Self.longestFact, at: orphans) }
    }
    let facts = place.appending("facts")
    if report.facts.count > Self.mostFacts { return fault(.tooLong, "at most \(Self.mostFacts) facts", at: facts) }
    for (key, value) in report.facts.sorted(by: { $0.key < $1.key }) {
      // A key that is no good is no good in a pointer either.
      text(key, atMost: Self.longestKey, at: facts)
      text(value, atMost: Self.longestFact, mayBeEmpty: true, at: facts.appending(AgentText.shortened(key)))
    }
  }

  private mutating func take(_ pool: NodeStoragePool, at place: JSONPointer) {
    text(pool.name, atMost: Self.longestKey, at: place.appending("name"))
    text(pool.problem ?? "-", atMost: Self.longestFact, at: place.appending("problem"))
    number(pool.totalBytes, Self.bytes, at: place.appending("total_bytes"))
    number(pool.freeBytes, Self.bytes, at: place.appending("free_bytes"))
    number(pool.usedBytes, Self.bytes, at: place.appending("used_bytes"))
  }

  private mutating func take(_ networking: NodeNetworking, at place: JSONPointer) {
    if let address = networking.tunnelAddress, IPAddress(address) == nil {
      fault(.badFormat, "an IP address", at: place.appending("tunnel_address"))
    }
    let names = place.appending("physical_networks")
    if networking.physicalNetworks.count > Self.mostFacts {
      return fault(.tooLong, "at most \(Self.mostFacts)", at: names)
    }
    for name in networking.physicalNetworks { text(name, atMost: Self.longestKey, at: names) }
    text(networking.problem ?? "-", atMost: Self.longestFact, at: place.appending("problem"))
  }

  private mutating func number(_ value: Int, _ range: ClosedRange<Int>, at place: JSONPointer) {
    if !range.contains(value) { fault(.outOfRange, "\(range.lowerBound) to \(range.upperBound)", at: place) }
  }

  private mutating func text(_ value: String, atMost limit: Int, mayBeEmpty: Bool = false, at place: JSONPointer) {
    if value.isEmpty && !mayBeEmpty { return fault(.tooShort, "must not be empty", at: place) }
    if value.utf8.count > limit { return fault(.tooLong, "at most \(limit) bytes", at: place) }
    if value.utf8.contains(0) { fault(.badFormat, "must not contain U+0000", at: place) }
  }

  private mutating func fault(_ code: ProblemCode, _ detail: String, at place: JSONPointer) {
    faults.append(.init(code: code, detail: detail, pointer: place.description))
  }

  private func finish() throws(Problem) {
    guard let first = faults.first else { return }
    throw Problem(first.code, "\(first.pointer ?? ""): \(first.detail)", errors: Array(faults.prefix(16)))
  }
}
