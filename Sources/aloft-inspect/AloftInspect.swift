import DiskImages
import Glibc
import JSON

// aloft-inspect: judges the disk image that is open as descriptor 3 and prints one JSON object. Its argument is an
// `InspectionOrder`; whoever starts it is `ConfinedInspector`. It exits with 0 for every answer, 2 when it was not asked well.
//
// Invariant: no byte of the image is read before the process is confined.

@main
enum AloftInspect {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count == 2, let order = try? JSONCoder.decode(InspectionOrder.self, from: Array(arguments[1].utf8))
    else { exit(2) }
    let confinement = Confinement(memoryBytes: order.memoryBytes, cpuSeconds: order.cpuSeconds)
    let memory = PeakMemory()
    let measures: Set<Measure>
    do throws(Confinement.Failure) {
      measures = try confinement.apply()
    } catch {
      answer(InspectionAnswer(failure: "\(error.what) (errno \(error.errno))"))
    }
    do throws(ImageRefusal) {
      let report = try DiskImage.inspect(try DescriptorImageSource(3), limits: order.limits)
      answer(InspectionAnswer(report: report, measures: measures, peakResidentBytes: memory.bytes))
    } catch {
      answer(InspectionAnswer(refusal: error, measures: measures, peakResidentBytes: memory.bytes))
    }
  }

  private static func answer(_ answer: InspectionAnswer) -> Never {
    guard let bytes = try? JSONCoder.encode(answer) else { exit(1) }
    var done = 0
    while done < bytes.count {
      let count = bytes[done...].withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { exit(1) }
      done += count
    }
    exit(0)
  }
}
