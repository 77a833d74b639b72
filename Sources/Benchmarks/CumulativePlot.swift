import Glibc

/// Cumulative distributions of durations as a picture (SVG 1.1). It has a logarithmic axis of durations, a linear one of
/// shares, a curve for each series and a legend. A viewer needs no network for it.
public struct CumulativePlot: Sendable {
  /// A curve.
  public struct Series: Sendable {
    /// Its name in the legend.
    public var name: String
    /// The durations that it shows.
    public var buckets: HistogramBuckets
    /// The number of its colour. Series of the same number share a colour.
    public var colour: Int
    /// Whether it is drawn in dashes.
    public var isDashed: Bool

    /// A curve of `buckets`.
    public init(name: String, buckets: HistogramBuckets, colour: Int, isDashed: Bool) {
      self.name = name
      self.buckets = buckets
      self.colour = colour
      self.isDashed = isDashed
    }
  }

  private let title: String
  private let axis: String
  private let series: [Series]
  private let firstTick: Int
  private let lastTick: Int

  private static let plot = (left: 80.0, top: 56.0, width: 800.0, height: 400.0)
  private static let lineHeight = 20.0
  /// Okabe and Ito's colours, which people who see few colours can distinguish. Their yellow is hardly seen on white, and
  /// is left out.
  private static let colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999"]
  /// How many cases a picture can show: as many as there are colours.
  public static var mostColours: Int { colours.count }

  /// A picture headed `title`, with `axis` below the durations. Series without durations have no curve.
  public init(title: String, axis: String, series: [Series]) {
    self.title = title
    self.axis = axis
    self.series = series.filter { !$0.buckets.values.isEmpty }
    let least = self.series.compactMap { $0.buckets.values.first }.min() ?? 1
    let most = self.series.compactMap { $0.buckets.values.last }.max() ?? 1
    let first = (0..<Self.ticks).last { Self.tick($0) <= Double(least) } ?? 0
    firstTick = first
    lastTick = (0..<Self.ticks).first { $0 > first && Self.tick($0) >= Double(most) } ?? Self.ticks - 1
  }

  /// 1 ns, 2 ns, 5 ns … up to an hour and more.
  private static let ticks = 39
  private static func tick(_ index: Int) -> Double { [1.0, 2, 5][index % 3] * pow(10, Double(index / 3)) }

  private func x(_ duration: Double) -> Double {
    let (first, last) = (log10(Self.tick(firstTick)), log10(Self.tick(lastTick)))
    let share = (log10(max(duration, 1)) - first) / (last - first)
    return Self.plot.left + Self.plot.width * min(max(share, 0), 1)
  }

  private func y(_ share: Double) -> Double { Self.plot.top + Self.plot.height * (1 - share) }

  /// The picture.
  public var svg: String {
    let plot = Self.plot
    let bottom = plot.top + plot.height
    let height = bottom + 76 + Self.lineHeight * Double((series.count + 1) / 2)
    let middle = plot.left + plot.width / 2
    var parts = [
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 920 \(rounded(height))\" width=\"920\" "
        + "height=\"\(rounded(height))\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">",
      "<title>\(escaped(title))</title>", "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>",
      "<text x=\"\(rounded(middle))\" y=\"30\" font-size=\"17\" text-anchor=\"middle\">\(escaped(title))</text>",
    ]
    parts += grid
    parts.append(
      "<rect x=\"\(rounded(plot.left))\" y=\"\(rounded(plot.top))\" width=\"\(rounded(plot.width))\" "
        + "height=\"\(rounded(plot.height))\" fill=\"none\" stroke=\"#888\"/>")
    parts.append(
      "<text x=\"\(rounded(middle))\" y=\"\(rounded(bottom + 46))\" text-anchor=\"middle\">\(escaped(axis))</text>")
    let centre = rounded(plot.top + plot.height / 2)
    parts.append(
      "<text x=\"24\" y=\"\(centre)\" text-anchor=\"middle\" transform=\"rotate(-90 24 \(centre))\">"
        + "cumulative share (%)</text>")
    parts += series.map(curve)
    for (index, series) in series.enumerated() { parts += legend(series, at: index, below: bottom + 76) }
    return (parts + ["</svg>"]).joined(separator: "\n") + "\n"
  }

  private var grid: [String] {
    let (top, bottom) = (rounded(Self.plot.top), rounded(Self.plot.top + Self.plot.height))
    let (left, right) = (rounded(Self.plot.left), rounded(Self.plot.left + Self.plot.width))
    // Where there are many decades, only those are labelled.
    let isWide = lastTick - firstTick > 14
    let columns = (firstTick...lastTick).flatMap { tick -> [String] in
      let at = rounded(x(Self.tick(tick)))
      let line = "<line x1=\"\(at)\" y1=\"\(top)\" x2=\"\(at)\" y2=\"\(bottom)\" stroke=\"#e4e4e4\"/>"
      if isWide && tick % 3 != 0 { return [line] }
      let y = rounded(Self.plot.top + Self.plot.height + 20)
      return [line, "<text x=\"\(at)\" y=\"\(y)\" text-anchor=\"middle\">\(label(tick))</text>"]
    }
    let rows = [0, 10, 25, 50, 75, 90, 100].flatMap { percent -> [String] in
      let at = rounded(y(Double(percent) / 100))
      return [
        "<line x1=\"\(left)\" y1=\"\(at)\" x2=\"\(right)\" y2=\"\(at)\" stroke=\"#e4e4e4\"/>",
        "<text x=\"\(rounded(Self.plot.left - 8))\" y=\"\(at)\" dy=\"4\" text-anchor=\"end\">\(percent)</text>",
      ]
    }
    return columns + rows
  }

  private func label(_ tick: Int) -> String {
    let units = ["ns", "µs", "ms", "s"]
    let unit = min(tick / 9, units.count - 1)
    return "\(Int(Self.tick(tick - 9 * unit))) \(units[unit])"
  }

  /// Steps, as a cumulative distribution is; those too small to be seen are drawn as one.
  private func curve(_ series: Series) -> String {
    let total = Double(series.buckets.counts.reduce(0, +))
    let values = series.buckets.values
    var path = "M\(rounded(x(Double(values[0])))) \(rounded(y(0)))"
    var (passed, drawn) = (0.0, (x: -1.0, y: y(0)))
    for (index, (value, count)) in zip(values, series.buckets.counts).enumerated() {
      passed += Double(count)
      let (x, y) = (x(Double(value)), y(passed / total))
      guard index == values.count - 1 || x - drawn.x >= 0.5 || drawn.y - y >= 0.5 else { continue }
      path += "H\(rounded(x))V\(rounded(y))"
      drawn = (x, y)
    }
    return "<path class=\"curve\" d=\"\(path)\" fill=\"none\" \(stroke(series))><title>\(escaped(series.name))"
      + "</title></path>"
  }

  private func legend(_ series: Series, at index: Int, below top: Double) -> [String] {
    let x = Self.plot.left + (index % 2 == 0 ? 0 : Self.plot.width / 2)
    let y = rounded(top + Self.lineHeight * Double(index / 2))
    return [
      "<line x1=\"\(rounded(x))\" y1=\"\(y)\" x2=\"\(rounded(x + 34))\" y2=\"\(y)\" \(stroke(series))/>",
      "<text x=\"\(rounded(x + 42))\" y=\"\(y)\" dy=\"4\">\(escaped(series.name))</text>",
    ]
  }

  private func stroke(_ series: Series) -> String {
    "stroke=\"\(Self.colours[series.colour % Self.colours.count])\" stroke-width=\"2\""
      + (series.isDashed ? " stroke-dasharray=\"6 4\"" : "")
  }

  /// With one decimal: a reader sees no smaller part of a pixel.
  private func rounded(_ value: Double) -> String {
    let tenths = Int((value * 10).rounded())
    return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
  }

  /// As XML takes it: what it does not allow, control characters among it, becomes a replacement character.
  private func escaped(_ text: String) -> String {
    text.unicodeScalars.map { scalar in
      switch scalar {
      case "&": "&amp;"
      case "<": "&lt;"
      case ">": "&gt;"
      case "\"": "&quot;"
      case "\u{0}"..."\u{1F}", "\u{FFFE}", "\u{FFFF}": "\u{FFFD}"
      default: String(scalar)
      }
    }.joined()
  }
}

extension BenchmarkReport {
  /// A figure's cumulative distributions: a colour a case, vmpool's curve in full and bare C's in dashes.
  public func plot(_ figure: Figure, title: String, axis: String) -> CumulativePlot {
    let isOne = cases.count == 1
    return CumulativePlot(
      title: title, axis: axis,
      series: cases.enumerated().flatMap { index, item in
        [("vmpool", item.vmpool, false), ("bare C", item.bare, true)].compactMap { name, side, isDashed in
          side[figure].map {
            CumulativePlot.Series(
              name: isOne ? name : "\(item.subject.label(in: benchmark)), \(name)", buckets: $0.histogram,
              colour: index, isDashed: isDashed)
          }
        }
      })
  }
}

extension BenchmarkCase.Subject {
  /// For people: `signal_mask, spin, 4 kickers, 8 vCPUs`, or `immediate_exit, 128 MiB, 64 pages`.
  public func label(in benchmark: String) -> String {
    if let memoryMiB, let dirtyPages {
      return "\(mechanism), \(memoryMiB) MiB, \(dirtyPages) \(dirtyPages == 1 ? "page" : "pages")"
    }
    let ofKickers = kickers == 1 ? ", 1 kicker" : ", \(kickers) kickers"
    let ofVCPUs = vcpus == 1 ? ", 1 vCPU" : ", \(vcpus) vCPUs"
    return mechanism + ", " + guest + (benchmark == KickBenchmark.name ? ofKickers : "") + ofVCPUs
  }
}
