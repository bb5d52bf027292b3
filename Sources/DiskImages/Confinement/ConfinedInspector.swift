import Execution
import Glibc
import JSON

/// Judges images by ``DiskImage`` in a process of its own that can do nothing else.
///
/// One process and one thread for each inspection that is under way: bound how many there are. Nothing blocks the caller's
/// thread. The process ends with the call, whatever the call ends with.
public struct ConfinedInspector: Sendable {
  /// What one inspection may take.
  public struct Budget: Sendable, Equatable {
    /// Memory beyond the program itself, in bytes. The default suits the default of ``ImageLimits/maxHostClusters``.
    public var memoryBytes: UInt64
    /// CPU time in seconds.
    public var cpuSeconds: UInt64
    /// Time on the clock; longer than the CPU time, as disks are slow.
    public var wallClock: Duration

    /// Makes a budget.
    public init(memoryBytes: UInt64 = 64 << 20, cpuSeconds: UInt64 = 30, wallClock: Duration = .seconds(120)) {
      self.memoryBytes = memoryBytes
      self.cpuSeconds = cpuSeconds
      self.wallClock = wallClock
    }
  }

  private let program: String
  private let budget: Budget

  /// Uses the `aloft-inspect` at `program`.
  public init(program: String, budget: Budget = Budget()) {
    self.program = program
    self.budget = budget
  }

  /// Looks at the image in a file. A symbolic link is not followed.
  public func inspect(
    path: String, limits: ImageLimits = ImageLimits()
  ) async throws(InspectionFailure) -> Inspection {
    try await run(limits) { () throws(InspectionFailure) in
      // Without O_NONBLOCK somebody's pipe would be waited for.
      let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
      guard descriptor >= 0 else { throw .cannotOpen(errno: errno) }
      return descriptor
    }
  }

  /// Looks at the image in an open file, which stays the caller's. It must be open for reading.
  public func inspect(
    descriptor: Int32, limits: ImageLimits = ImageLimits()
  ) async throws(InspectionFailure) -> Inspection {
    // Through /proc, because a copy of a descriptor that can also write would hand that on.
    try await run(limits) { () throws(InspectionFailure) in
      let own = open("/proc/self/fd/\(descriptor)", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
      guard own >= 0 else { throw .cannotOpen(errno: errno) }
      return own
    }
  }

  private func run(
    _ limits: ImageLimits, open: @escaping @Sendable () throws(InspectionFailure) -> Int32
  ) async throws(InspectionFailure) -> Inspection {
    let order = InspectionOrder(limits: limits, memoryBytes: budget.memoryBytes, cpuSeconds: budget.cpuSeconds)
    let wakeup: Wakeup
    do throws(Wakeup.Failure) { wakeup = try Wakeup() } catch { throw .cannotStart(errno: error.errno) }
    let (program, wallClock) = (program, budget.wallClock)
    let cancelled = Lock(false)
    let outcome = await withTaskCancellationHandler {
      await DedicatedThread(name: "inspect").run { () -> Result<Inspection, InspectionFailure> in
        Result { () throws(InspectionFailure) in
          let image = try open()
          defer { close(image) }
          var status = stat()
          guard fstat(image, &status) == 0 else { throw .cannotOpen(errno: errno) }
          guard status.st_mode & S_IFMT == S_IFREG else { throw .notAFile }
          var child = try InspectorProcess(program: program, order: order, image: image)
          return try child.wait(until: .now + wallClock, wakeup) { cancelled.withLock { $0 } }
        }
      }
    } onCancel: {
      cancelled.withLock { $0 = true }
      wakeup.wake()
    }
    return try outcome.get()
  }
}
