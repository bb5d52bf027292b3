import CLinux
import DiskImages
import Glibc

// confinement-probe: confines itself like aloft-inspect and then tries what its argument says. Exits with 0 if it got away
// with it and with 1 if it was refused; the kernel may also kill it.

@main
enum ConfinementProbe {
  static func main() {
    let deed = CommandLine.arguments.dropFirst().first ?? ""
    // Made before, so that only the deed itself is forbidden.
    let file = open(CommandLine.arguments.last ?? "", O_RDWR | O_CLOEXEC)
    do throws(Confinement.Failure) {
      _ = try Confinement(memoryBytes: 64 << 20, cpuSeconds: 1).apply()
    } catch { exit(3) }
    switch deed {
    case "nothing": exit(0)
    case "open": exit(open("/etc/passwd", O_RDONLY) >= 0 ? 0 : 1)
    case "socket": exit(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) >= 0 ? 0 : 1)
    case "fork":
      var pid: pid_t = 0
      exit(posix_spawn(&pid, "/bin/true", nil, nil, [nil], [nil]) == 0 ? 0 : 1)
    case "write":
      var byte: UInt8 = 1
      exit(write(file, &byte, 1) == 1 ? 0 : 1)
    case "memory":
      exit(mmap(nil, 256 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ? 0 : 1)
    case "cpu":
      var value: UInt64 = 1
      while value != 0 { value = value &* 3 | 1 }
      exit(0)
    default: exit(4)
    }
  }
}
