import Foundation
import Libvirt
import LibvirtTestSupport
import TestSupport
import XMLBuilder

/// Aloft's tiny guest as a domain of a private libvirtd, with its own disk and its serial port in a file.
struct Guest {
  let name: String
  let uuid = UUID()
  let disk: String
  let seed: String
  let serialFile: String

  /// Makes the disks; defines nothing.
  init(_ name: String, in libvirt: PrivateLibvirt, userData: String = "#cloud-config\n") async throws {
    self.name = name
    let base = libvirt.directory.appending(path: name).path
    (disk, seed, serialFile) = (base + ".qcow2", base + "-seed.iso", base + ".serial")
    try await GuestImage.overlay(at: disk)
    try await GuestImage.seed(at: seed, hostname: name, userData: userData)
  }

  var xml: String {
    XML.element("domain", ["type": "qemu"]) {
      XML.element("name", text: name)
      XML.element("uuid", text: uuid.uuidString.lowercased())
      XML.element("memory", ["unit": "MiB"], text: 128)
      XML.element("vcpu", text: 1)
      XML.element("os") { XML.element("type", ["arch": "x86_64", "machine": "q35"], text: "hvm") }
      XML.element("features") {
        XML.element("acpi")
        XML.element("tcg") { XML.element("tb-cache", ["unit": "MiB"], text: 32) }
      }
      XML.element("on_poweroff", text: "destroy")
      XML.element("on_reboot", text: "restart")
      XML.element("on_crash", text: "destroy")
      XML.element("devices") {
        XML.element("emulator", text: "/usr/bin/qemu-system-x86_64")
        diskXML(disk, format: "qcow2", target: "vda")
        diskXML(seed, format: "raw", target: "vdb", readOnly: true)
        XML.element("controller", ["type": "pci", "index": "0", "model": "pcie-root"])
        // Spare ports: what is plugged into a running q35 machine needs one.
        for index in 1...7 {
          XML.element("controller", ["type": "pci", "index": "\(index)", "model": "pcie-root-port"])
        }
        XML.element("controller", ["type": "usb", "model": "none"])
        XML.element("serial", ["type": "pty"]) {
          XML.element("log", ["file": serialFile, "append": "on"])
          XML.element("target", ["port": "0"])
        }
        XML.element("channel", ["type": "unix"]) {
          XML.element("target", ["type": "virtio", "name": "org.qemu.guest_agent.0"])
        }
        XML.element("memballoon", ["model": "virtio"]) { XML.element("stats", ["period": "1"]) }
      }
    }.string
  }

  func diskXML(_ file: String, format: String, target: String, readOnly: Bool = false) -> XML {
    XML.element("disk", ["type": "file", "device": "disk"]) {
      XML.element("driver", ["name": "qemu", "type": format])
      XML.element("source", ["file": file])
      XML.element("target", ["dev": target, "bus": "virtio"])
      if readOnly { XML.element("readonly") }
    }
  }

  /// What the guest has written on its serial port so far.
  var serial: String {
    // A character may be half written.
    String(decoding: (try? Data(contentsOf: URL(fileURLWithPath: serialFile))) ?? Data(), as: UTF8.self)
  }

  /// Waits for a line with `marker` and returns it. A guest without KVM on a busy machine may need a minute to boot.
  @discardableResult
  func waits(for marker: String, count: Int = 1) async throws -> String {
    try await found("'\(marker)' on the serial port of \(name); it says \(serial.suffix(400))", within: .seconds(180)) {
      let lines = serial.split(whereSeparator: \.isNewline).filter { $0.contains(marker) }
      return lines.count >= count ? lines.last.map(String.init) : nil
    }
  }
}
