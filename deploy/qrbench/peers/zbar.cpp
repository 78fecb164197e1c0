// zbar, for QR codes alone, and those that are light on dark as well.
#include <zbar.h>

#include "frames.h"

int main(int argc, char** argv) {
	using namespace zbar;
	zbar_image_scanner_t* scanner = zbar_image_scanner_create();
	zbar_image_scanner_set_config(scanner, ZBAR_NONE, ZBAR_CFG_ENABLE, 0);
	zbar_image_scanner_set_config(scanner, ZBAR_QRCODE, ZBAR_CFG_ENABLE, 1);
	zbar_image_scanner_set_config(scanner, ZBAR_NONE, ZBAR_CFG_TEST_INVERTED, 1);
	return answer("zbar", argc, argv, [scanner](const Picture& p, Codes& out) {
		zbar_image_t* image = zbar_image_create();
		zbar_image_set_format(image, zbar_fourcc('Y', '8', '0', '0'));
		zbar_image_set_size(image, unsigned(p.width), unsigned(p.height));
		zbar_image_set_data(image, p.pixels.data(), p.pixels.size(), nullptr);
		zbar_scan_image(scanner, image);
		for (auto s = zbar_image_first_symbol(image); s; s = zbar_symbol_next(s))
			if (zbar_symbol_get_type(s) == ZBAR_QRCODE) {
				const std::string text(zbar_symbol_get_data(s), zbar_symbol_get_data_length(s));
				out.add(text, text);
			}
		zbar_image_destroy(image);
	});
}
