// The frame of a reader that is compared with ours: paths of PGM pictures come
// in by standard input, one a line, and a line goes out for each, in fields
// between tabs: reader, file, CPU ms, wall ms, number of codes, texts in base64.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

struct Picture {
	int width = 0, height = 0;
	std::vector<uint8_t> pixels;
};

// Codes are the codes of one picture: for each its text and, where the reader
// gives them and they are others, its bytes.
struct Codes {
	size_t count = 0;
	std::vector<std::string> texts;

	void add(std::string text, std::string bytes) {
		count++;
		texts.push_back(text);
		if (bytes != text)
			texts.push_back(bytes);
	}
};

inline bool load(const std::string& path, Picture& p) {
	std::ifstream in(path, std::ios::binary);
	std::string magic;
	int white = 0;
	if (!(in >> magic >> p.width >> p.height >> white) || magic != "P5" || white != 255 || p.width < 1 || p.height < 1 ||
		p.width > 1 << 14 || p.height > 1 << 14)
		return false;
	in.get();
	p.pixels.resize(size_t(p.width) * size_t(p.height));
	return bool(in.read(reinterpret_cast<char*>(p.pixels.data()), std::streamsize(p.pixels.size())));
}

inline double milliseconds(clockid_t clock) {
	timespec t{};
	clock_gettime(clock, &t);
	return double(t.tv_sec) * 1e3 + double(t.tv_nsec) / 1e6;
}

inline std::string base64(const std::string& s) {
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	std::string out;
	for (size_t i = 0; i < s.size(); i += 3) {
		uint32_t v = 0;
		for (size_t j = 0; j < 3; j++)
			v = v << 8 | (i + j < s.size() ? uint8_t(s[i + j]) : 0);
		for (size_t j = 0; j < 4; j++)
			out += i + j <= s.size() ? digits[v >> (18 - 6 * j) & 63] : '=';
	}
	return out;
}

// answer reads pictures for as long as paths come, each so often as the first
// argument says; the time is the median.
template <class Read>
int answer(const char* name, int argc, char** argv, Read read) {
	const size_t times = argc > 1 ? size_t(std::max(1, atoi(argv[1]))) : 1;
	bool warm = false;
	Picture p;
	for (std::string path; std::getline(std::cin, path);) {
		if (!load(path, p)) {
			fprintf(stderr, "%s: no PGM: %s\n", name, path.c_str());
			return 1;
		}
		if (!warm) {
			Codes unused;
			read(p, unused);
			warm = true;
		}
		Codes codes;
		std::vector<double> cpu, wall;
		for (size_t i = 0; i < times; i++) {
			codes = Codes();
			const double w = milliseconds(CLOCK_MONOTONIC), c = milliseconds(CLOCK_PROCESS_CPUTIME_ID);
			read(p, codes);
			cpu.push_back(milliseconds(CLOCK_PROCESS_CPUTIME_ID) - c);
			wall.push_back(milliseconds(CLOCK_MONOTONIC) - w);
		}
		std::sort(cpu.begin(), cpu.end());
		std::sort(wall.begin(), wall.end());
		std::string texts;
		for (const auto& t : codes.texts) {
			if (!texts.empty())
				texts += ',';
			texts += base64(t);
		}
		printf("%s\t%s\t%.4f\t%.4f\t%zu\t%s\n", name, path.c_str(), cpu[times / 2], wall[times / 2], codes.count, texts.c_str());
		fflush(stdout);
	}
	return 0;
}
