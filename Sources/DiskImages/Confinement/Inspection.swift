/// What holds while an image is looked at.
public enum Measure: String, Sendable, Codable, CaseIterable {
  /// Limits of memory and CPU time; no file can be opened or made longer.
  case limits
  /// No program that is started can gain privileges.
  case noNewPrivileges = "no_new_privileges"
  /// A network without interfaces, and a user without rights outside.
  case ownNetwork = "own_network"
  /// Only reading and writing of what is open, memory and the end: the kernel kills the process for any other call.
  case systemCallFilter = "system_call_filter"
}

/// What a run of `aloft-inspect` is asked, as JSON in its only argument.
package struct InspectionOrder: Sendable, Codable {
  package var limits: ImageLimits
  package var memoryBytes: UInt64
  package var cpuSeconds: UInt64

  package init(limits: ImageLimits, memoryBytes: UInt64, cpuSeconds: UInt64) {
    // JSON numbers are exact up to here.
    let most = UInt64(Int64.max)
    self.limits = ImageLimits(
      maxVirtualSize: min(limits.maxVirtualSize, most), maxFileSize: min(limits.maxFileSize, most),
      maxHostClusters: min(limits.maxHostClusters, most), maxTableBytes: min(limits.maxTableBytes, most))
    self.memoryBytes = min(memoryBytes, most)
    self.cpuSeconds = min(cpuSeconds, most / 2)
  }
}

/// What it answers: exactly one of report, refusal and failure.
package struct InspectionAnswer: Sendable, Codable {
  package var report: ImageReport?
  package var refusal: ImageRefusal?
  /// Why it could not confine itself; nothing was read then.
  package var failure: String?
  package var measures: [Measure]
  /// See ``Inspection/peakResidentBytes``.
  package var peakResidentBytes: UInt64

  package init(
    report: ImageReport? = nil, refusal: ImageRefusal? = nil, failure: String? = nil, measures: Set<Measure> = [],
    peakResidentBytes: UInt64 = 0
  ) {
    self.report = report
    self.refusal = refusal
    self.failure = failure
    self.measures = measures.sorted { $0.rawValue < $1.rawValue }
    self.peakResidentBytes = peakResidentBytes
  }
}

/// An image that was looked at.
public struct Inspection: Sendable, Equatable {
  /// What it is, or what is wrong with it.
  public var verdict: Result<ImageReport, ImageRefusal>
  /// The most memory that the inspecting process had resident, in bytes, as the kernel told it. (What wait4(2) says of it
  /// begins with the memory of the process that started it.)
  public var peakResidentBytes: UInt64
  /// The CPU time that it took.
  public var cpuTime: Duration
  /// What it was confined by.
  public var measures: Set<Measure>
}

/// Why nothing is known of an image. A closed list.
public enum InspectionFailure: Error, Sendable, Equatable {
  /// The image's file cannot be opened.
  case cannotOpen(errno: Int32)
  /// The path leads to something that is no ordinary file.
  case notAFile
  /// `aloft-inspect` could not be started.
  case cannotStart(errno: Int32)
  /// It could not confine itself, and so did not look at the image.
  case notConfined(String)
  /// It took too long, by the clock or in CPU time.
  case outOfTime
  /// It died: out of memory, killed for a forbidden system call, or a fault.
  case died(signal: Int32)
  /// It ended without an answer that makes sense.
  case noAnswer(status: Int32)
  /// The waiting task was cancelled.
  case cancelled
}

extension InspectionFailure: CustomStringConvertible {
  public var description: String {
    switch self {
    case .cannotOpen(let errno): "the image's file cannot be opened (errno \(errno))"
    case .notAFile: "the image is no ordinary file"
    case .cannotStart(let errno):
      "aloft-inspect could not be started (errno \(errno)); it must be installed beside this program"
    case .notConfined(let what): "aloft-inspect could not confine itself: \(what)"
    case .outOfTime: "the inspection took too long"
    case .died(let signal): "the inspection died of signal \(signal), perhaps for want of memory"
    case .noAnswer(let status): "the inspection ended with status \(status) and no answer"
    case .cancelled: "the inspection was cancelled"
    }
  }
}
