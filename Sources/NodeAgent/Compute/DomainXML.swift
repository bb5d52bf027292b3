import AloftModel
import XMLBuilder

// The domain's definition. What it holds that is not obvious:
// - The Debian cloud kernel has no AHCI driver: the seed is virtio-blk.
// - The serial port appends to a file, whose offsets therefore never change.
// - Emulated processors are at the x86-64-v2 level: several distributions do not start below it.
// - No display, no USB: each costs memory, start time and attack surface.
// - A device that is plugged in later needs a PCI Express port that is free: libvirt makes none to spare.

/// The XML namespace of what Aloft keeps in a domain's metadata.
public enum DomainMetadata {
  public static let namespace = "https://aloft.dev/xmlns/vm/1"
  public static let prefix = "aloft"
}

extension DomainTag {
  /// The metadata element. `declaringNamespace`: inside a whole definition; libvirt adds it by itself otherwise.
  public func element(name: String, declaringNamespace: Bool) -> XML {
    .element(
      declaringNamespace ? "\(DomainMetadata.prefix):vm" : "vm",
      [
        "xmlns:\(DomainMetadata.prefix)": declaringNamespace ? DomainMetadata.namespace : nil,
        "incarnation": "\(incarnation)",
        "generation": "\(generation)",
        "ran": "\(ranGeneration)",
        "guest-stopped": guestStopped ? "true" : nil,
        "power-cut": powerCut ? "true" : nil,
        "digest": digest,
        "disks": disks,
        "resumed": resumed?.description,
        "name": name,
      ])
  }
}

extension DomainSpecification {
  /// The definition for `virDomainDefineXML`.
  public var xml: String {
    XML.element("domain", ["type": accelerator == .kvm ? "kvm" : "qemu"]) {
      XML.element("name", text: vm)
      XML.element("uuid", text: vm.uuid.uuidString.lowercased())
      XML.element("title", text: name)
      XML.element("metadata") { tag.element(name: name, declaringNamespace: true) }
      XML.element("memory", ["unit": "MiB"], text: memoryMib)
      XML.element("vcpu", text: vcpus)
      XML.element("os") {
        XML.element("type", ["arch": platform.architecture, "machine": "q35"], text: "hvm")
        if !disks.contains(where: { $0.bootOrder != nil }) { XML.element("boot", ["dev": "hd"]) }
      }
      features
      processor
      XML.element("clock", ["offset": "utc"]) {
        XML.element("timer", ["name": "rtc", "tickpolicy": "catchup"])
        XML.element("timer", ["name": "pit", "tickpolicy": "delay"])
        XML.element("timer", ["name": "hpet", "present": "no"])
      }
      XML.element("on_poweroff", text: "destroy")
      XML.element("on_reboot", text: "restart")
      XML.element("on_crash", text: "destroy")
      XML.element("pm") {
        XML.element("suspend-to-mem", ["enabled": "no"])
        XML.element("suspend-to-disk", ["enabled": "no"])
      }
      devices
    }.string
  }

  private var features: XML {
    .element("features") {
      XML.element("acpi")
      XML.element("apic")
      if accelerator == .tcg {
        // QEMU's default is up to 1 GiB of translated code for each guest.
        XML.element("tcg") { XML.element("tb-cache", ["unit": "MiB"], text: 32) }
      }
    }
  }

  private var processor: XML {
    accelerator == .kvm
      ? .element("cpu", ["mode": "host-model"])
      : .element("cpu", ["mode": "custom", "match": "exact", "check": "none"]) {
        XML.element("model", ["fallback": "allow"], text: "Nehalem")
      }
  }

  private var devices: XML {
    .element("devices") {
      ports
      volumes
      seed
      // There from the start: a disk of its bus may come while the guest runs.
      XML.element("controller", ["type": "scsi", "index": "0", "model": "virtio-scsi"])
      XML.element("controller", ["type": "usb", "index": "0", "model": "none"])
      XML.element("controller", ["type": "virtio-serial", "index": "0"])
      for nic in nics ?? [] { nic.element }
      XML.element("serial", ["type": "file"]) {
        XML.element("source", ["path": paths.serialLog, "append": "on"])
        XML.element("target", ["type": "isa-serial", "port": "0"])
      }
      XML.element("channel", ["type": "unix"]) {
        XML.element("target", ["type": "virtio", "name": "org.qemu.guest_agent.0"])
      }
      XML.element("memballoon", ["model": "virtio"]) { XML.element("stats", ["period": "10"]) }
      XML.element("rng", ["model": "virtio"]) {
        XML.element("backend", ["model": "random"], text: "/dev/urandom")
      }
      XML.element("panic", ["model": "isa"])
    }
  }

  /// How many virtio devices every machine has: the seed, the SCSI and the serial bus, balloon and random numbers.
  private static let ownDevices = 5
  /// How many NICs and virtio disks can come while the guest runs. Each costs an emulated guest a tenth of a second at its
  /// start.
  private static let sparePorts = 4

  @XMLContent private var ports: [XML] {
    let devices = Self.ownDevices + disks.count { $0.bus == .virtio } + (nics?.count ?? 0)
    XML.element("controller", ["type": "pci", "index": "0", "model": "pcie-root"])
    for index in 1...(devices + Self.sparePorts) {
      XML.element("controller", ["type": "pci", "index": "\(index)", "model": "pcie-root-port"])
    }
  }

  @XMLContent private var volumes: [XML] {
    let targets = disks.reduce(into: [String]()) { targets, disk in
      targets.append(DiskSpecification.target(on: disk.bus, taken: Set(targets)))
    }
    for (disk, target) in zip(disks, targets) { disk.element(target: target) }
  }

  /// The seed's name inside libvirt, out of the way of volumes.
  static let seedTarget = "vdzz"

  private var seed: XML {
    .element("disk", ["type": "file", "device": "disk"]) {
      XML.element("driver", ["name": "qemu", "type": "raw"])
      XML.element("source", ["file": paths.seed])
      XML.element("target", ["dev": Self.seedTarget, "bus": "virtio"])
      XML.element("readonly")
    }
  }
}
