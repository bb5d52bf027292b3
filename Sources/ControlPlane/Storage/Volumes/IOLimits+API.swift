import AloftModel
import Foundation
import JSON
import Postgres

// I/O limits as bodies say them, the API shows them and the database keeps them: an object with a member for each measure.

extension IOLimits {
  /// What an object says; one that is no limits is nil.
  init?(_ value: JSONValue) {
    guard let limits = try? JSONCoder.decode(IOLimits.self, from: value) else { return nil }
    self = limits
  }

  /// Reads a column.
  init(_ row: Row, at index: Int) throws {
    self = try JSONCoder.decode(
      IOLimits.self, from: try JSONValue.parse(Array(try row.get(index, as: JSONText.self).text.utf8)))
  }

  /// As a column holds it.
  var text: JSONText { JSONText(String(decoding: jsonBytes, as: UTF8.self)) }

  /// What a change leaves: what it does not name stays, null removes one, or all.
  func changed(by change: JSONValue) throws -> IOLimits {
    guard case .object(let members) = change else { return IOLimits() }
    var limits = self
    for (name, value) in members {
      guard let measure = IOMeasure(rawValue: name) else { continue }
      limits[measure] = value.isNull ? nil : try JSONCoder.decode(IOLimit.self, from: value)
    }
    return limits
  }

  /// Refuses what QEMU would refuse.
  func requireSense() throws {
    switch contradiction {
    case nil: return
    case .totalAndPart(let total, let part):
      throw Problem.field(
        .limitsContradict, "/io_limits/\(part.rawValue)",
        "\(total.rawValue) limits what \(part.rawValue) counts, too; remove one of them with null")
    case .burstBelowRate(let measure):
      let limit = self[measure]
      throw Problem.field(
        .limitsContradict, "/io_limits/\(measure.rawValue)/burst",
        "a burst of \(limit?.burst ?? 0) is below the \(limit?.perSecond ?? 0) that are let through at any time; say more"
      )
    case .lengthWithoutBurst(let measure):
      throw Problem.field(
        .limitsContradict, "/io_limits/\(measure.rawValue)/burst_seconds",
        "there is no burst whose length it could be; say burst, too")
    }
  }
}

extension IOLimits: JSONWritable {
  public func write(to writer: inout JSONWriter) {
    writer.object { writer in
      for measure in IOMeasure.allCases {
        guard let limit = self[measure] else { continue }
        writer.key(measure.rawValue)
        writer.object { writer in
          writer.field("per_second", limit.perSecond)
          if let burst = limit.burst { writer.field("burst", burst) }
          if let seconds = limit.burstSeconds { writer.field("burst_seconds", seconds) }
        }
      }
    }
  }
}
