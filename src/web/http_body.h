#pragma once

#include <algorithm>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/optional.hpp>
#include <cstdint>
#include <string>

namespace minimind {

/// A body of Beast that takes memory as bytes arrive. Beast's own string body takes the announced length at once, so
/// that a header of a few bytes would cost megabytes.
struct HttpBody {
  using value_type = std::string;

  class reader {
   public:
    template <bool is_request, class Fields>
    reader(boost::beast::http::header<is_request, Fields>& /*head*/, value_type& body) : body_(body) {}

    void init(const boost::optional<uint64_t>& announced, boost::system::error_code& error) {
      announced_ = announced.value_or(SIZE_MAX);
      error = {};
    }

    template <class Buffers>
    size_t put(const Buffers& buffers, boost::system::error_code& error) {
      const size_t before = body_.size();
      for (const boost::asio::const_buffer buffer : boost::beast::buffers_range_ref(buffers)) {
        const size_t size = body_.size() + buffer.size();
        if (size > body_.capacity()) {
          body_.reserve(std::max(size, std::min(2 * body_.capacity(), announced_)));
        }
        body_.append(static_cast<const char*>(buffer.data()), buffer.size());
      }
      error = {};
      return body_.size() - before;
    }

    void finish(boost::system::error_code& error) { error = {}; }

   private:
    value_type& body_;
    size_t announced_ = 0;
  };
};

}  // namespace minimind
