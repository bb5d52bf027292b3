/// What a file is by its first and last bytes.
enum ImageSignature: Equatable {
  case qcow2
  case raw(isISO9660: Bool)
  /// A disk image of another kind, by its name.
  case foreign(String)
  /// Something that an image may be inside of, and how to get it out.
  case packed(String, remedy: String)
  /// Something that people mistake for an image.
  case text(String)

  private struct Magic {
    let offset: Int
    let bytes: [UInt8]
    let meaning: ImageSignature

    init(_ text: String, at offset: Int = 0, _ meaning: ImageSignature) {
      self.init(Array(text.utf8), at: offset, meaning)
    }

    init(_ bytes: [UInt8], at offset: Int = 0, _ meaning: ImageSignature) {
      self.offset = offset
      self.bytes = bytes
      self.meaning = meaning
    }
  }

  /// QEMU's and VirtualBox' formats as their own programs recognise them. Those that name other files (VMDK descriptors) are
  /// the reason why nothing that QEMU would recognise may pass as raw.
  private static let beginnings: [Magic] = [
    Magic([0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 1], .foreign("a QCOW image of version 1")),
    Magic([0x51, 0x46, 0x49, 0xFB], .qcow2),
    Magic("KDMV", .foreign("a VMDK image")),
    Magic("COWD", .foreign("a VMDK image")),
    Magic("# Disk DescriptorFile", .foreign("a VMDK descriptor, which only names the files of the disk")),
    Magic([0x7F, 0x10, 0xDA, 0xBE], at: 64, .foreign("a VDI image")),
    Magic("conectix", .foreign("a VHD image")),
    Magic("vhdxfile", .foreign("a VHDX image")),
    Magic([0x51, 0x45, 0x44, 0x00], .foreign("a QED image")),
    Magic("WithoutFreeSpace", .foreign("a Parallels image")),
    Magic("WithouFreSpacExt", .foreign("a Parallels image")),
    Magic([0x4C, 0x55, 0x4B, 0x53, 0xBA, 0xBE], .foreign("a LUKS container")),
    Magic("Bochs Virtual HD Image", .foreign("a Bochs image")),
    Magic("#!/bin/sh\n#V2.0 Format", .foreign("a cloop image")),
    Magic([0x1F, 0x8B, 0x08], .packed("a gzip file", remedy: "unpack it with gunzip")),
    Magic([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00], .packed("an xz file", remedy: "unpack it with unxz")),
    Magic([0x28, 0xB5, 0x2F, 0xFD], .packed("a zstd file", remedy: "unpack it with unzstd")),
    Magic("BZh", .packed("a bzip2 file", remedy: "unpack it with bunzip2")),
    Magic("PK\u{3}\u{4}", .packed("a zip archive", remedy: "unpack it with unzip")),
    Magic([0x37, 0x7A, 0xBC, 0xAF, 0x27, 0x1C], .packed("a 7z archive", remedy: "unpack it with 7z")),
    Magic("ustar", at: 257, .packed("a tar archive (or an OVA)", remedy: "unpack it with tar")),
  ]

  /// Formats that are told by their last 512 bytes. A fixed VHD is a raw disk with a footer, and also has it at the end.
  private static let endings: [Magic] = [
    Magic("conectix", .foreign("a VHD image")),
    Magic("koly", .foreign("an Apple disk image")),
  ]

  private static let pages = ["<!doctype", "<html", "<?xml", "{\"error", "not found", "404 "]

  static func recognise(_ source: any ImageSource) throws(ImageRefusal) -> ImageSignature {
    let head = try source.read(at: 0, count: 512)
    for magic in beginnings where has(head, magic) { return magic.meaning }
    if source.size >= 512 {
      // A fixed VHD of before 2003 has a footer of 511 bytes.
      let tail = try source.read(at: source.size - 512, count: 512)
      for magic in endings where has(tail, magic) || has(Array(tail.dropFirst()), magic) { return magic.meaning }
    }
    let text = String(decoding: head.drop { $0 == 0x20 || (9...13).contains($0) }.prefix(16), as: UTF8.self)
      .lowercased()
    if pages.contains(where: text.hasPrefix) { return .text("a page of text (`\(text.prefix(9))`…)") }
    let volume = try source.read(at: 32_768, count: 6)
    return .raw(isISO9660: Array(volume.dropFirst()) == Array("CD001".utf8))
  }

  private static func has(_ bytes: [UInt8], _ magic: Magic) -> Bool {
    bytes.dropFirst(magic.offset).starts(with: magic.bytes)
  }
}
