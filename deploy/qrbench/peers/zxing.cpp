// zxing-cpp as Debian has it (1.4), with all that it tries by itself.
#define ZX_USE_UTF8 1
#include <ZXing/ReadBarcode.h>

#include "frames.h"

int main(int argc, char** argv) {
	ZXing::DecodeHints hints;
	hints.setFormats(ZXing::BarcodeFormat::QRCode);
	hints.setMaxNumberOfSymbols(1);
	return answer("zxing-cpp-1.4", argc, argv, [hints](const Picture& p, Codes& out) {
		const ZXing::ImageView view(p.pixels.data(), p.width, p.height, ZXing::ImageFormat::Lum);
		for (const auto& r : ZXing::ReadBarcodes(view, hints))
			if (r.isValid())
				out.add(r.text(), std::string(r.bytes().begin(), r.bytes().end()));
	});
}
