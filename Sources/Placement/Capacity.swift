/// One of the three things a VM claims on its node.
public enum Resource: String, Sendable, CaseIterable {
  case vcpus
  case memoryMiB = "memory_mib"
  case diskGiB = "disk_gib"

  var unit: String {
    switch self {
    case .vcpus: "vCPUs"
    case .memoryMiB: "MiB of memory"
    case .diskGiB: "GiB of disk"
    }
  }
}

/// Amounts of the three things a VM claims: virtual CPUs, MiB of memory, GiB of disk.
public struct Capacity: Sendable, Hashable {
  /// Virtual CPUs.
  public var vcpus: Int
  /// Memory, MiB.
  public var memoryMiB: Int
  /// Disk, GiB.
  public var diskGiB: Int

  /// Makes amounts; what is left out is 0.
  public init(vcpus: Int = 0, memoryMiB: Int = 0, diskGiB: Int = 0) {
    self.vcpus = vcpus
    self.memoryMiB = memoryMiB
    self.diskGiB = diskGiB
  }

  /// The amount of one resource.
  public subscript(resource: Resource) -> Int {
    get {
      switch resource {
      case .vcpus: vcpus
      case .memoryMiB: memoryMiB
      case .diskGiB: diskGiB
      }
    }
    set {
      switch resource {
      case .vcpus: vcpus = newValue
      case .memoryMiB: memoryMiB = newValue
      case .diskGiB: diskGiB = newValue
      }
    }
  }
}

/// Arithmetic that ends at the limits of `Int` instead of trapping: amounts come from rows and requests.
extension Int {
  func clampedAdding(_ other: Int) -> Int {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? (other > 0 ? .max : .min) : sum
  }

  func clampedSubtracting(_ other: Int) -> Int {
    let (difference, overflow) = subtractingReportingOverflow(other)
    return overflow ? (other > 0 ? .min : .max) : difference
  }

  /// `floor(self × ratio)`, as PostgreSQL computes a node's limit from a `float8` ratio; 0 for what is not positive.
  func scaled(by ratio: Double) -> Int {
    let product = (Double(self) * ratio).rounded(.down)
    guard product.isFinite, product > 0 else { return 0 }
    return product >= 0x1p62 ? 1 << 62 : Int(product)
  }
}
