// The DiskImages module: what an uploaded file is, and whether any node may open it.
//
// Invariants
// - The rule is a pure function of the bytes and the limits. It opens nothing, follows nothing that the image names, and
//   never traps: every number from the image is checked before it is computed with.
// - Memory is bounded by the limits, not by the image: tables are read in pieces of at most 64 KiB and never kept; what is
//   kept is two bytes for each cluster of the file that is used.
// - Time is bounded by `maxTableBytes`.
// - What is accepted has all of its data in the one file, every cluster once, and nothing beside what the guest sees.

/// Judges disk images by their content.
public enum DiskImage {
  /// What the image is; throws what is wrong with it.
  public static func inspect(
    _ source: any ImageSource, limits: ImageLimits = ImageLimits()
  ) throws(ImageRefusal) -> ImageReport {
    guard source.size > 0 else { throw ImageRefusal(.empty, "the file is empty; upload the image again") }
    guard source.size <= limits.maxFileSize else {
      throw ImageRefusal(.fileTooLarge, "the file has \(source.size) bytes, at most \(limits.maxFileSize) are allowed")
    }
    switch try ImageSignature.recognise(source) {
    case .qcow2: return try QCOW2Inspection.inspect(source, limits)
    case .raw(let isISO9660): return try raw(source, limits, isISO9660)
    case .foreign(let name):
      throw ImageRefusal(
        .foreignFormat, at: 0, "this is \(name); convert it with `qemu-img convert -O qcow2` and upload the result")
    case .packed(let name, let remedy):
      throw ImageRefusal(.packedFile, at: 0, "this is \(name); \(remedy) and upload the image itself")
    case .text(let name):
      throw ImageRefusal(.notAnImage, at: 0, "this is \(name) and no disk image; look at where it came from")
    }
  }

  private static func raw(
    _ source: any ImageSource, _ limits: ImageLimits, _ isISO9660: Bool
  ) throws(ImageRefusal) -> ImageReport {
    let (rounded, overflow) = source.size.addingReportingOverflow(511)
    let size = rounded & ~511
    guard !overflow, size <= limits.maxVirtualSize else {
      throw ImageRefusal(
        .virtualSizeTooLarge, "the disk has \(source.size) bytes, at most \(limits.maxVirtualSize) are allowed")
    }
    let start = try source.read(at: 0, count: PartitionTables.bytes)
    return ImageReport(
      format: .raw, virtualSize: size, fileSize: source.size, allocatedBytes: size,
      partitionTable: PartitionTables.recognise(start), isISO9660: isISO9660)
  }
}
