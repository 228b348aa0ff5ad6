// Enhance one raw 16-bit radiograph with an exported model and OpenVINO, without Python:
//   longexposure export fast --out fast.onnx
//   c++ -O2 -std=c++17 run_exported_model.cpp $(pkg-config --cflags --libs openvino) -o enhance
//   ./enhance fast.onnx in.raw out.raw 1900 1900 300     (width, height, noise in grey values)
#include <algorithm>
#include <cmath>
#include <fstream>
#include <openvino/openvino.hpp>

int main(int, char** argv) {
    const size_t width = std::stoul(argv[4]), height = std::stoul(argv[5]), grid = 4;  // the model's multiple
    std::vector<uint16_t> grey(width * height);
    std::ifstream(argv[2], std::ios::binary).read(reinterpret_cast<char*>(grey.data()), 2 * grey.size());
    std::vector<uint16_t> sorted(grey);
    std::sort(sorted.begin(), sorted.end());
    const double low = sorted[grey.size() / 100], high = sorted[grey.size() * 99 / 100];  // not equal
    const float s = std::stof(argv[6]) / (high - low), told[] = {s, (std::log2(s) + 6) / 6, 0, 0, 0};
    ov::Tensor image(ov::element::f32, {1, 1, (height + grid - 1) / grid * grid, (width + grid - 1) / grid * grid});
    ov::Tensor noise(ov::element::f32, {1, 5}, const_cast<float*>(told));
    const size_t rows = image.get_shape()[2], columns = image.get_shape()[3];
    for (size_t i = 0; i < rows * columns; ++i)  // beyond its end the image goes on as it ends
        image.data<float>()[i] =
            (grey[std::min(i / columns, height - 1) * width + std::min(i % columns, width - 1)] - low) / (high - low);
    auto request = ov::Core().compile_model(argv[1], "CPU", ov::hint::inference_precision(ov::element::f32))
                       .create_infer_request();
    request.set_tensor("image", image);
    request.set_tensor("noise", noise);
    request.start_async();  // infer() may keep to itself that memory ran out
    request.wait();
    const float* enhanced = request.get_output_tensor().data<float>();
    for (size_t i = 0; i < grey.size(); ++i) {
        const size_t at = i / width * columns + i % width;
        const double value = grey[i] + (enhanced[at] - image.data<float>()[at]) * (high - low);
        grey[i] = uint16_t(std::lround(std::clamp(value, 0.0, 65535.0)));
    }
    std::ofstream(argv[3], std::ios::binary).write(reinterpret_cast<char*>(grey.data()), 2 * grey.size());
}
